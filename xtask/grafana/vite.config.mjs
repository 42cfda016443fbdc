import { defineConfig } from 'vite';

export default defineConfig({
  // The page is opened as a file.
  base: './',
  logLevel: 'error',
  build: { chunkSizeWarningLimit: Infinity },
});
