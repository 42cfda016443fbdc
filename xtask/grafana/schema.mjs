// Writes a JSON schema of Grafana's types for a dashboard and each kind of panel into a directory.

import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createGenerator } from 'ts-json-schema-generator';

const [directory] = process.argv.slice(2);
const resolve = createRequire(import.meta.url).resolve;
const { name, version, license } = JSON.parse(readFileSync(resolve('@grafana/schema/package.json')));

for (const type of ['Dashboard', 'Stat', 'Table', 'TimeSeries']) {
  const config = { path: 'schema.ts', tsconfig: 'tsconfig.json', type, jsDoc: 'none', topRef: false };
  const { $schema, ...schema } = createGenerator(config).createSchema(type);
  const $comment = `Made of the types in ${name} ${version} (${license})`;
  const text = JSON.stringify({ $schema, $comment, ...schema }, null, 1);
  writeFileSync(`${directory}/${type.toLowerCase()}.json`, `${text}\n`);
}
