// The options of fields in a dashboard, applied by Grafana's own code.

import {
  DataFrame,
  FieldConfigOptionsRegistry,
  FieldConfigPropertyItem,
  FieldConfigSource,
  FieldType,
  GrafanaTheme2,
  ThresholdsMode,
  applyFieldOverrides,
  cacheFieldDisplayNames,
  identityOverrideProcessor,
  standardTransformers,
  standardTransformersRegistry,
} from '@grafana/data';
import { defaultGraphConfig } from './defaults';

/** The options that each kind of panel has, besides those of its own. */
const STANDARD = ['unit', 'min', 'max', 'decimals', 'displayName', 'noValue', 'color', 'thresholds', 'mappings', 'links'];

const { mergeTransformer, organizeFieldsTransformer } = standardTransformers;
standardTransformersRegistry.setInit(() =>
  [mergeTransformer, organizeFieldsTransformer].map((transformer) => ({
    id: transformer.id,
    name: transformer.name,
    editor: () => null,
    transformation: () => Promise.resolve(transformer),
    imageDark: '',
    imageLight: '',
  }))
);

export const replaceVariables = (text: string) => text;

/** The frames with what the panel says of their fields. */
export function configured(data: DataFrame[], fieldConfig: FieldConfigSource, theme: GrafanaTheme2): DataFrame[] {
  const custom = { ...defaultGraphConfig, ...fieldConfig.defaults.custom };
  const source = { ...fieldConfig, defaults: { ...fieldConfig.defaults, custom } };
  // As JSON has no infinity, the first step of a dashboard's thresholds is null.
  const thresholds = source.defaults.thresholds ?? { mode: ThresholdsMode.Absolute, steps: [] };
  const steps = thresholds.steps.map((step) => ({ ...step, value: step.value ?? -Infinity }));
  source.defaults.thresholds = { ...thresholds, steps };
  const fieldConfigRegistry = new FieldConfigOptionsRegistry(() => [
    ...STANDARD.map((path) => option(path, false)),
    ...Object.keys(custom).map((path) => option(path, true)),
  ]);
  const frames = applyFieldOverrides({ data, fieldConfig: source, fieldConfigRegistry, replaceVariables, theme, timeZone: 'utc' });
  cacheFieldDisplayNames(frames);
  return frames;
}

function option(path: string, isCustom: boolean): FieldConfigPropertyItem {
  return {
    id: isCustom ? `custom.${path}` : path,
    path,
    name: path,
    isCustom,
    editor: () => null,
    override: () => null,
    process: identityOverrideProcessor,
    // How values are drawn is nothing to an axis of time.
    shouldApply: (field) => !isCustom || field.type !== FieldType.time,
  };
}
