// A dashboard: its name, what its variables are set to, and its panels where their gridPos says.
import { dateTime, type DataFrame, type TimeRange } from "@grafana/data";
import { PanelChrome, useTheme2 } from "@grafana/ui";
import { Component, type ReactNode } from "react";
import type { Answers, Dashboard } from "./dashboard-json";
import { withFieldConfig } from "./fields";
import { type Drawn, Visualization } from "./panels";

const COLUMNS = 24;
const CELL = 30; // Grafana's, and the gap between cells: public/app/core/constants.ts
const GAP = 8;

export interface Filled {
  answers: Answers;
  dashboard: Dashboard;
  frames: Record<number, DataFrame[]>;
}

export function Board({ answers, dashboard, frames, width }: Filled & { width: number }) {
  const theme = useTheme2();
  const range = { from: dateTime(answers.from * 1000), to: dateTime(answers.to * 1000) };
  const timeRange: TimeRange = { ...range, raw: range };
  const column = (width + GAP) / COLUMNS;
  const bottom = Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  return (
    <main style={{ padding: 16 }}>
      <Head {...{ dashboard, timeRange }} />
      <div style={{ position: "relative", width, height: bottom * (CELL + GAP) }}>
        {dashboard.panels.map((panel) => {
          const { x, y, w, h } = panel.gridPos;
          const place = { left: x * column, top: y * (CELL + GAP), position: "absolute" as const };
          const size = { width: w * column - GAP, height: h * (CELL + GAP) - GAP };
          if (panel.type === "row") {
            const style = { ...place, ...size, ...theme.typography.h4, lineHeight: `${size.height}px`, margin: 0 };
            return <h2 key={panel.id} style={style}>{panel.title}</h2>;
          }
          return (
            <section key={panel.id} data-panel={panel.id} data-kind={panel.type} style={{ ...place, ...size }}>
              <PanelChrome title={panel.title} description={panel.description} {...size}>
                {(width: number, height: number) => (
                  <Guarded>
                    <Content {...{ panel, timeRange, width, height }} frames={frames[panel.id] ?? []} />
                  </Guarded>
                )}
              </PanelChrome>
            </section>
          );
        })}
      </div>
    </main>
  );
}

function Head({ dashboard, timeRange }: { dashboard: Dashboard; timeRange: TimeRange }) {
  const theme = useTheme2();
  const box = {
    background: theme.components.input.background,
    border: `1px solid ${theme.components.input.borderColor}`,
    borderRadius: theme.shape.radius.default,
    padding: "5px 8px",
  };
  const times = [timeRange.from, timeRange.to].map((time) => dateTime(time).utc().format("HH:mm:ss"));
  const shown = dashboard.templating.list.filter(({ name, hide }) => !hide && name !== "datasource");
  return (
    <header style={{ alignItems: "center", display: "flex", gap: 16, marginBottom: 16 }}>
      <h1 style={{ ...theme.typography.h3, flexGrow: 1, margin: 0 }}>{dashboard.title}</h1>
      {shown.map(({ current, label, name }) => (
        <span key={name}>
          <span style={{ color: theme.colors.text.secondary, marginRight: 8 }}>{label ?? name}</span>
          <span style={box}>{current.text}</span>
        </span>
      ))}
      <span style={box}>{times.join(" to ")} UTC</span>
    </header>
  );
}

function Content({ panel, frames, height, ...rest }: Drawn) {
  const theme = useTheme2();
  if (frames.length) {
    return <Visualization {...{ panel, height, ...rest }} frames={withFieldConfig(panel, frames, theme)} />;
  }
  const style = { color: theme.colors.text.secondary, paddingTop: height / 2 - 12, textAlign: "center" as const };
  return <div style={style}>No data</div>;
}

/** What a panel throws stands in its place, and the others are drawn. */
class Guarded extends Component<{ children: ReactNode }, { problem?: string }> {
  state: { problem?: string } = {};

  static getDerivedStateFromError(error: unknown) {
    return { problem: String(error) };
  }

  render() {
    return this.state.problem ? <pre data-problem>{this.state.problem}</pre> : this.props.children;
  }
}
