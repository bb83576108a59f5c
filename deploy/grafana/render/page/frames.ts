// What Prometheus answered becomes Grafana's data frames, as Grafana's Prometheus data source makes them.
import { type DataFrame, type Field, FieldType, toDataFrame } from "@grafana/data";
import type { Panel, Series, Target } from "./dashboard-json";

export function framesOf(panel: Panel, answers: Record<string, Series[]>, step: number): DataFrame[] {
  return panel.targets.flatMap((target) => {
    const series = answers[target.refId] ?? [];
    if (target.format === "table") {
      return series.length ? [tableFrame(series, target, panel.targets.length > 1)] : [];
    }
    return series.map((one) => seriesFrame(one, target, step));
  });
}

function seriesFrame(series: Series, target: Target, step: number): DataFrame {
  const points = series.values ?? [series.value!];
  const fields = [
    { name: "Time", type: FieldType.time, config: { interval: step * 1000 }, values: points.map(([at]) => at * 1000) },
    {
      name: "Value",
      type: FieldType.number,
      config: { displayNameFromDS: legendOf(series.metric, target) },
      labels: series.metric,
      values: points.map(([, value]) => numberOf(value)),
    },
  ];
  return toDataFrame({ refId: target.refId, fields });
}

function tableFrame(all: Series[], target: Target, several: boolean): DataFrame {
  const labels = [...new Set(all.flatMap((series) => Object.keys(series.metric)))].sort();
  const fields: Partial<Field>[] = [
    { name: "Time", type: FieldType.time, config: {}, values: all.map((series) => series.value![0] * 1000) },
    ...labels.map((name) => ({
      name,
      type: FieldType.string,
      config: { filterable: true },
      values: all.map((series) => series.metric[name] ?? ""),
    })),
    {
      name: several ? `Value #${target.refId}` : "Value",
      type: FieldType.number,
      config: {},
      values: all.map((series) => numberOf(series.value![1])),
    },
  ];
  return toDataFrame({ refId: target.refId, fields });
}

// As Grafana's graphs do (prepareGraphableFields of the time series panel), we leave a gap for what is no number.
function numberOf(value: string): number | null {
  const number = Number(value);
  return Number.isFinite(number) ? number : null;
}

function legendOf(metric: Record<string, string>, { expr, legendFormat }: Target): string {
  if (legendFormat && legendFormat !== "__auto") {
    return legendFormat.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, label) => metric[label] ?? "");
  }
  const { __name__: name = "", ...labels } = metric;
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return pairs.length ? `${name}{${pairs.join(", ")}}` : name || expr;
}
