// What we read of a dashboard's JSON, and of what a Prometheus answered to it (../answers.py writes that).
import type { DataTransformerConfig, FieldConfigSource } from "@grafana/data";

export interface Target {
  expr: string;
  format?: string;
  legendFormat?: string;
  refId: string;
}

export interface Panel {
  description?: string;
  fieldConfig: FieldConfigSource;
  gridPos: { h: number; w: number; x: number; y: number };
  id: number;
  options: Record<string, any>;
  targets: Target[];
  title: string;
  transformations?: DataTransformerConfig[];
  type: string;
}

export interface Dashboard {
  panels: Panel[];
  templating: { list: { hide?: string; label?: string; name: string; current: { text: string } }[] };
  title: string;
}

// Prometheus' own: https://prometheus.io/docs/prometheus/latest/querying/api/
export interface Series {
  metric: Record<string, string>;
  value?: [number, string];
  values?: [number, string][];
}

export interface Answers {
  from: number; // seconds since 1970, as in what Prometheus answers
  to: number;
  step: number;
  panels: Record<string, Record<string, Series[]>>; // by the panel's id, then the query's refId
}
