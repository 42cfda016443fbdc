// What Grafana takes where a dashboard says nothing of how a graph looks.

import { AxisPlacement, GraphFieldConfig, LineInterpolation, ScaleDistribution } from '@grafana/schema';

export const defaultGraphConfig: GraphFieldConfig = {
  axisPlacement: AxisPlacement.Auto,
  lineInterpolation: LineInterpolation.Linear,
  pointSize: 5,
  scaleDistribution: { type: ScaleDistribution.Linear },
};
