// The kinds of panel that our dashboards have (../../panels.py), each by Grafana's own component.
import { type DataFrame, getFieldDisplayValues, type TimeRange } from "@grafana/data";
import { BigValue, TimeSeries, useTheme2, VizRepeater } from "@grafana/ui";
import { TableNG } from "@grafana/ui/unstable";
import type { Panel } from "./dashboard-json";
import { fieldConfigOf } from "./fields";

export interface Drawn {
  frames: DataFrame[];
  height: number;
  panel: Panel;
  timeRange: TimeRange;
  width: number;
}

export function Visualization(drawn: Drawn) {
  switch (drawn.panel.type) {
    case "timeseries":
      return <Trend {...drawn} />;
    case "stat":
      return <Figure {...drawn} />;
    case "table":
      return <Listing {...drawn} />;
    default:
      throw new Error(`panels of kind ${drawn.panel.type} are not known to deploy/grafana/render/page/panels.tsx`);
  }
}

function Trend({ frames, height, panel, timeRange, width }: Drawn) {
  const legend = panel.options.legend;
  return <TimeSeries {...{ frames, height, legend, timeRange, width }} timeZone="utc" options={panel.options} />;
}

function Figure({ frames, height, panel, width }: Drawn) {
  const theme = useTheme2();
  const { colorMode, graphMode, justifyMode, orientation, reduceOptions, textMode, wideLayout } = panel.options;
  const values = () =>
    getFieldDisplayValues({
      data: frames,
      fieldConfig: fieldConfigOf(panel),
      reduceOptions,
      replaceVariables: (text) => text,
      sparkline: graphMode !== "none",
      theme,
      timeZone: "utc",
    });
  return (
    <VizRepeater
      getValues={values}
      height={height}
      orientation={orientation}
      renderCounter={0}
      source={frames}
      width={width}
      renderValue={({ value, width, height, count }) => (
        <BigValue
          {...{ colorMode, count, graphMode, height, justifyMode, textMode, theme, wideLayout, width }}
          sparkline={value.sparkline}
          value={value.display}
        />
      )}
    />
  );
}

function Listing({ frames, height, panel, timeRange, width }: Drawn) {
  return <TableNG data={frames[0]} fieldConfig={fieldConfigOf(panel)} {...{ height, timeRange, width }} />;
}
