// Answers of Prometheus as the frames that Grafana's components show.

import { DataFrame, FieldType, Labels } from '@grafana/data';

type Value = [seconds: number, value: string];

interface Series {
  metric: Labels;
  value?: Value;
  values?: Value[];
}

export interface Answer {
  result: Series[];
}

export interface History {
  from: number;
  to: number;
  step: number;
  answers: Record<string, Answer>;
}

export interface Target {
  refId: string;
  legendFormat?: string;
  format?: string;
}

/** The frames of an answer: one for a table, else one for each series. */
export function frames(answer: Answer, target: Target, history: History): DataFrame[] {
  if (target.format === 'table') {
    return [table(answer, target)];
  }
  return answer.result.map((series) => timeSeries(series, target, history));
}

function table({ result }: Answer, { refId }: Target): DataFrame {
  const names = [...new Set(result.flatMap((series) => Object.keys(series.metric)))].sort();
  const values = result.map((series) => series.value!);
  const labels = names.map((name) => ({
    name,
    type: FieldType.string,
    config: {},
    values: result.map((series) => series.metric[name]),
  }));
  const time = { name: 'Time', type: FieldType.time, config: {}, values: values.map(([at]) => at * 1000) };
  const numbers = values.map(([, value]) => Number(value));
  const value = { name: `Value #${refId}`, type: FieldType.number, config: {}, values: numbers };
  return { refId, length: result.length, fields: [time, ...labels, value] };
}

function timeSeries(series: Series, target: Target, history: History): DataFrame {
  const found = new Map(series.values ?? [series.value!]);
  // Where there is no value there is a gap, not a line to the next one.
  const times = series.values ? steps(history) : [...found.keys()];
  const values = times.map((time) => number(found.get(time)));
  const displayNameFromDS = legend(target.legendFormat ?? '', series.metric);
  return {
    refId: target.refId,
    length: times.length,
    fields: [
      { name: 'Time', type: FieldType.time, config: {}, values: times.map((time) => time * 1000) },
      { name: 'Value', type: FieldType.number, config: { displayNameFromDS }, labels: series.metric, values },
    ],
  };
}

function steps({ from, to, step }: History): number[] {
  return Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, index) => from + index * step);
}

function number(text: string | undefined): number | null {
  return text === undefined || text === 'NaN' ? null : Number(text);
}

function legend(format: string, labels: Labels): string {
  return format.replace(/\{\{(\w+)\}\}/g, (_, name) => labels[name] ?? '');
}
