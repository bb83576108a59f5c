// A panel's units, limits and colours go into its fields by Grafana's own applyFieldOverrides.
import {
  applyFieldOverrides,
  type DataFrame,
  FieldColorModeId,
  FieldConfigOptionsRegistry,
  type FieldConfigSource,
  type GrafanaTheme2,
} from "@grafana/data";
import type { Panel } from "./dashboard-json";

const STANDARD = ["unit", "min", "max", "decimals", "thresholds", "color", "displayName", "mappings", "noValue"];
// In Grafana each panel plugin brings the registry of its options; these are the ones that our dashboards set.
const CUSTOM: Record<string, string[]> = {
  timeseries: ["fillOpacity", "lineWidth", "showPoints", "spanNulls", "stacking", "thresholdsStyle", "drawStyle"],
};

export function withFieldConfig(panel: Panel, frames: DataFrame[], theme: GrafanaTheme2): DataFrame[] {
  return applyFieldOverrides({
    data: frames,
    fieldConfig: fieldConfigOf(panel),
    fieldConfigRegistry: registryOf(panel.type),
    replaceVariables: (text) => text,
    theme,
    timeZone: "utc",
  });
}

export function fieldConfigOf(panel: Panel): FieldConfigSource {
  const { defaults = {}, overrides = [] } = panel.fieldConfig ?? {};
  const steps = defaults.thresholds?.steps.map((step) => ({ ...step, value: step.value ?? -Infinity }));
  const mode = panel.type === "timeseries" ? FieldColorModeId.PaletteClassic : FieldColorModeId.Thresholds;
  return {
    defaults: {
      color: { mode },
      ...defaults,
      thresholds: { ...defaults.thresholds!, steps: steps ?? [{ color: "green", value: -Infinity }] },
    },
    overrides,
  };
}

function registryOf(kind: string): FieldConfigOptionsRegistry {
  const item = (path: string, isCustom: boolean): any => ({
    id: isCustom ? `custom.${path}` : path,
    isCustom,
    name: path,
    path,
    process: (value: unknown) => value,
    shouldApply: () => true,
  });
  return new FieldConfigOptionsRegistry(() => [
    ...STANDARD.map((path) => item(path, false)),
    ...(CUSTOM[kind] ?? []).map((path) => item(path, true)),
  ]);
}
