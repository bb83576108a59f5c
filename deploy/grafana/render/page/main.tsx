// One dashboard, drawn by Grafana's components from what a Prometheus answered: ?board=UID (../screenshots.py).
import "@fontsource/inter/400.css";
import "@fontsource/inter/500.css";
import "@fontsource/roboto-mono/400.css";
import { createTheme, standardTransformers, standardTransformersRegistry, ThemeContext, transformDataFrame } from "@grafana/data";
import { initPluginTranslations } from "@grafana/i18n";
import { GlobalStyles, PortalContainer } from "@grafana/ui";
import { createRoot } from "react-dom/client";
import { firstValueFrom } from "rxjs";
import { Board, type Filled } from "./dashboard";
import type { Answers, Dashboard } from "./dashboard-json";
import { framesOf } from "./frames";
import { countTurns, inspect, settled } from "./inspect";

const MARGIN = 16;

standardTransformersRegistry.setInit(() =>
  [standardTransformers.organizeFieldsTransformer].map((each: any) => ({ ...each, transformation: async () => each })),
);

async function fetchJson<T>(path: string): Promise<T> {
  const answer = await fetch(path);
  if (!answer.ok) {
    throw new Error(`${path}: ${answer.status}`);
  }
  return answer.json();
}

async function fill(board: string): Promise<Filled> {
  const dashboard = await fetchJson<Dashboard>(`boards/${board}.json`);
  const answers = await fetchJson<Answers>(`answers/${board}.json`);
  const frames: Filled["frames"] = {};
  for (const panel of dashboard.panels.filter(({ type }) => type !== "row")) {
    const raw = framesOf(panel, answers.panels[panel.id] ?? {}, answers.step);
    const context = { interpolate: (text: string) => text };
    frames[panel.id] = await firstValueFrom(transformDataFrame(panel.transformations ?? [], raw, context));
  }
  return { answers, dashboard, frames };
}

async function show(): Promise<void> {
  await initPluginTranslations("fovea"); // Grafana's components ask for their words, which are in English without any
  const filled = await fill(new URLSearchParams(location.search).get("board")!);
  const theme = createTheme({ colors: { mode: "dark" } });
  const width = document.documentElement.clientWidth - 2 * MARGIN;
  createRoot(document.getElementById("page")!).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <Board {...filled} width={width} />
      <PortalContainer />
    </ThemeContext.Provider>,
  );
}

Object.assign(window, { inspect, settled });
countTurns();
show().catch((error) => {
  document.body.append(Object.assign(document.createElement("pre"), { textContent: String(error.stack ?? error) }));
  document.body.lastElementChild!.setAttribute("data-problem", "");
});
