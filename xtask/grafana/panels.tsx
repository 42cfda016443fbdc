// The kinds of panels that the dashboard has.

import { DataFrame, GrafanaTheme2, TimeRange, getFieldDisplayValues } from '@grafana/data';
import { BigValue, TimeSeries } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { replaceVariables } from './fields';

interface Props {
  panel: any;
  data: DataFrame[];
  theme: GrafanaTheme2;
  timeRange: TimeRange;
  width: number;
  height: number;
}

export function Panel(props: Props) {
  switch (props.panel.type) {
    case 'stat':
      return <Stat {...props} />;
    case 'table':
      return <Table {...props} />;
    case 'timeseries':
      return <Graph {...props} />;
    default:
      throw new Error(`no panel is a ${props.panel.type}`);
  }
}

function Stat({ panel, data, theme, width, height }: Props) {
  const { fieldConfig, options } = panel;
  const { reduceOptions, colorMode, graphMode, justifyMode, textMode } = options;
  const values = getFieldDisplayValues({ fieldConfig, reduceOptions, replaceVariables, theme, data, timeZone: 'utc' });
  return (
    <BigValue
      value={values[0].display}
      {...{ colorMode, graphMode, justifyMode, textMode, theme, width, height }}
    />
  );
}

function Table({ panel, data, timeRange, width, height }: Props) {
  const { showHeader, cellHeight, sortBy } = panel.options;
  return (
    <TableNG
      data={data[0]}
      noHeader={!showHeader}
      enableVirtualization={false}
      {...{ cellHeight, sortBy, timeRange, width, height }}
    />
  );
}

function Graph({ panel, data, timeRange, width, height }: Props) {
  const { legend } = panel.options;
  return <TimeSeries frames={data} timeZone="utc" {...{ legend, timeRange, width, height }} />;
}
