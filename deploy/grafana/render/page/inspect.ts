// What stands on the page, panel by panel, for whoever must know that it was drawn: ../screenshots.py.

interface Seen {
  id: number;
  kind: string;
  title: string;
  marks: number; // lines, values or rows that the panel's component has drawn
  problem: string; // "" where there is none
}

export function inspect(): Seen[] {
  return [...document.querySelectorAll<HTMLElement>("section[data-panel]")].map((section) => {
    const { panel, kind } = section.dataset;
    const title = section.querySelector("h2")?.textContent ?? "";
    return { id: Number(panel), kind: kind!, title, marks: marksOf(section, kind!), problem: problemOf(section) };
  });
}

const ENOUGH = 60;
let turns = 0; // of the browser's drawing, since panels are there

export function countTurns(): void {
  turns += document.querySelector("section[data-panel]") ? 1 : 0;
  requestAnimationFrame(countTurns);
}

/** Components measure before they draw; fonts and icons come after what they belong to. */
export function settled(): boolean {
  return turns > ENOUGH && document.fonts.status === "loaded" && document.querySelector("svg:empty") === null;
}

function problemOf(section: HTMLElement): string {
  const thrown = section.querySelector("[data-problem]")?.textContent;
  return thrown ?? section.innerText.match(/No data/)?.[0] ?? "";
}

function marksOf(section: HTMLElement, kind: string): number {
  switch (kind) {
    case "timeseries":
      return hasColour(section.querySelector("canvas")) ? section.querySelectorAll("tbody tr").length : 0;
    case "stat":
      return [...section.querySelectorAll('[data-testid="data-testid Bar gauge value"], span')].filter((each) =>
        /\d/.test(each.textContent ?? ""),
      ).length;
    case "table":
      return Math.max(0, section.querySelectorAll('[role="row"]').length - 1); // without its head
    default:
      return 0;
  }
}

/** Axes and grid are grey; lines are not. */
function hasColour(canvas: HTMLCanvasElement | null): boolean {
  if (!canvas?.width || !canvas.height) {
    return false;
  }
  const { data } = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height);
  for (let at = 0; at < data.length; at += 4) {
    const [red, green, blue, alpha] = data.subarray(at, at + 4);
    if (alpha > 128 && Math.max(red, green, blue) - Math.min(red, green, blue) > 60) {
      return true;
    }
  }
  return false;
}
