// The types of a dashboard's parts in Grafana, of which JSON schemas are made.

export type { Dashboard } from '@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen';

import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

/** What a kind of panel has of its own. */
interface Own<Options, Custom> {
  options: Options;
  custom?: Custom;
}

export type Stat = Own<stat.Options, Record<string, never>>;
export type Table = Own<table.Options, table.FieldConfig>;
export type TimeSeries = Own<timeseries.Options, timeseries.FieldConfig>;
