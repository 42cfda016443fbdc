// The dashboard over a history, without anything to choose or to click.

import { createRoot } from 'react-dom/client';
import { lastValueFrom } from 'rxjs';
import { DataFrame, ThemeContext, TimeRange, createTheme, dateTime, transformDataFrame } from '@grafana/data';
import { GlobalStyles, PanelChrome } from '@grafana/ui';
import { configured } from './fields';
import { History, Target, frames } from './frames';
import { Panel } from './panels';

/** Grafana's grid, in pixels. */
const COLUMNS = 24;
const ROW = 30;
const MARGIN = 8;

/** Room for the dashboard's name. */
const HEADING = 36;

interface Shown {
  dashboard: any;
  history: History;
}

declare global {
  interface Window {
    shown: Shown;
  }
}

const theme = createTheme({ colors: { mode: 'dark' } });

async function data(panel: any, history: History): Promise<DataFrame[]> {
  const answered = panel.targets.flatMap((target: Target) =>
    frames(history.answers[`${panel.id}/${target.refId}`], target, history)
  );
  const transformed = await lastValueFrom(transformDataFrame(panel.transformations ?? [], answered));
  return configured(transformed, panel.fieldConfig, theme);
}

function place({ x, y, w, h }: { x: number; y: number; w: number; h: number }, width: number) {
  const column = (width - MARGIN) / COLUMNS;
  return {
    left: MARGIN + x * column,
    top: HEADING + y * (ROW + MARGIN),
    width: w * column - MARGIN,
    height: h * (ROW + MARGIN) - MARGIN,
  };
}

async function show({ dashboard, history }: Shown) {
  const range = { from: dateTime(history.from * 1000), to: dateTime(history.to * 1000) };
  const timeRange: TimeRange = { ...range, raw: range };
  const width = window.innerWidth;
  const all: DataFrame[][] = await Promise.all(dashboard.panels.map((panel: any) => data(panel, history)));
  const panels = dashboard.panels.map((panel: any, index: number) => {
    const { left, top, width: w, height: h } = place(panel.gridPos, width);
    return (
      <div key={panel.id} style={{ position: 'absolute', left, top, width: w, height: h }}>
        <PanelChrome title={panel.title} width={w} height={h}>
          {(width, height) => <Panel {...{ panel, data: all[index], theme, timeRange, width, height }} />}
        </PanelChrome>
      </div>
    );
  });
  const name = { position: 'absolute', left: 2 * MARGIN, top: MARGIN, color: theme.colors.text.primary } as const;
  createRoot(document.getElementById('root')!).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <div style={name}>{dashboard.title}</div>
      {panels}
    </ThemeContext.Provider>
  );
}

show(window.shown);
