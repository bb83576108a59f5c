"""Plots as inline SVG: nothing is loaded from anywhere, and every name in them is escaped."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from itertools import cycle

from loadtest.reporting.report import Latency, Line, Tally, Timeline

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 560, 200, 64, 26, 10, 12
# Okabe and Ito's, told apart by colour-blind readers.
COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c6d31", "#637939", "#7b4173",
    "#843c39", "#3182bd",
)  # fmt: skip
LEAST = 1e-300  # what a server says may be anything
BYTES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def plot_timeline(timeline: Timeline) -> str:
    """Lines over the seconds of the run; the y axis begins at 0."""
    points = [point for line in timeline.lines for point in line.points]
    most_x = max((at for at, _ in points), default=1.0) or 1.0
    most_y = max((value for _, value in points), default=0.0)
    scale, unit = scale_of(most_y, timeline.unit)
    ticks = ticks_to(most_y / scale)
    parts = [*_axes(f"{timeline.name}, {unit}", ticks, ticks_to(most_x), "s")]
    for line, colour in zip(timeline.lines, cycle(COLOURS), strict=False):
        parts.append(_polyline(line, colour, ticks_to(most_x)[-1], ticks[-1] * scale))
    legend = _legend([line.label for line in timeline.lines]) if len(timeline.lines) > 1 else ""
    return _svg(timeline.name, parts) + legend


def unit_of(timeline: Timeline) -> str:
    """That of the plot's axis."""
    most = max((value for line in timeline.lines for _, value in line.points), default=0.0)
    return scale_of(most, timeline.unit)[1]


def plot_latencies(latencies: Sequence[tuple[str, Latency]]) -> str:
    """p50, p95 and p99 of each with their intervals, as points on one logarithmic axis of milliseconds."""
    found = [(name, label, estimate) for name, latency in latencies
             for label, estimate in (("p50", latency.p50), ("p95", latency.p95), ("p99", latency.p99))
             if estimate is not None and estimate.value > 0]  # fmt: skip
    if not found:
        return ""
    lows, highs = [max(one.low, 1e-3) for *_, one in found], [one.high for *_, one in found]
    first, last = math.floor(math.log10(min(lows))), math.ceil(math.log10(max(highs) * 1.0001))
    height = 24 * len(found) + 34

    def x(value: float) -> float:
        inside = (math.log10(max(value, 10.0**first)) - first) / max(1, last - first)
        return 150 + inside * (WIDTH - 150 - RIGHT)

    parts = []
    for power in range(first, last + 1):
        at = x(10.0**power)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="4" y2="{height - 26}"/>')
        parts.append(_text(at, height - 10, f"{10.0**power:g} ms", "end" if power == last else "middle"))
    for row, (name, label, one) in enumerate(found):
        y, colour = 16 + 24 * row, COLOURS[("p50", "p95", "p99").index(label)]
        parts.append(_text(142, y + 4, f"{name} {label}", "end"))
        ends = f'x1="{x(one.low):.1f}" x2="{x(one.high):.1f}" y1="{y}" y2="{y}"'
        parts.append(f'<line stroke="{colour}" stroke-width="2" {ends}/>')
        parts.append(f'<circle fill="{colour}" cx="{x(one.value):.1f}" cy="{y}" r="4"/>')
    return _svg("percentiles with their intervals", parts, height)


def plot_tally(tally: Tally) -> str:
    """One bar, parted by outcome."""
    total, at, parts = sum(tally.counts.values()), 0.0, []
    for (name, count), colour in zip(tally.counts.items(), cycle(COLOURS), strict=False):
        width = WIDTH * count / total if total else 0.0
        title = f"<title>{escape(f'{name}: {count:,.0f}')}</title>"
        parts.append(f'<rect fill="{colour}" x="{at:.1f}" y="0" width="{width:.1f}" height="18">{title}</rect>')
        at += width
    legend = _legend([f"{name} {count:,.0f}" for name, count in tally.counts.items()])
    return _svg(tally.name, parts, 18) + legend


def ticks_to(most: float) -> list[float]:
    """From 0 to the first round number that is not below `most`, in at most six steps."""
    if not most > LEAST or not math.isfinite(most):
        return [0.0, 1.0]
    step = 10.0 ** math.floor(math.log10(most / 4))
    step *= next(times for times in (1, 2, 5, 10) if step * times * 5 >= most)
    return [step * place for place in range(math.ceil(most / step - 1e-9) + 1)]


def scale_of(most: float, unit: str) -> tuple[float, str]:
    if unit == "bytes":
        return next(((float(scale), name) for scale, name in BYTES if most >= scale), (1.0, "bytes"))
    return (0.01, "%") if unit == "share" else (1.0, unit)


def _axes(title: str, ys: Sequence[float], xs: Sequence[float], unit: str) -> Iterator[str]:
    for value in ys:
        y = _y(value, ys[-1])
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield _text(LEFT - 6, y + 4, f"{value:g}", "end")
    for value in xs:
        yield _text(_x(value, xs[-1]), HEIGHT - 8, f"{value:g} {unit}", "middle")
    yield f"<title>{escape(title)}</title>"


def _polyline(line: Line, colour: str, most_x: float, most_y: float) -> str:
    points = " ".join(f"{_x(at, most_x):.1f},{_y(value, most_y):.1f}" for at, value in line.points)
    return f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{points}"/>'


def _x(value: float, most: float) -> float:
    return LEFT + value / most * (WIDTH - LEFT - RIGHT)


def _y(value: float, most: float) -> float:
    return HEIGHT - BOTTOM - value / most * (HEIGHT - BOTTOM - TOP)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(label: str, parts: Sequence[str], height: int = HEIGHT) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def _legend(names: Sequence[str]) -> str:
    told = (
        f'<i style="background:{colour}"></i>{escape(name)}'
        for name, colour in zip(names, cycle(COLOURS), strict=False)
    )
    return f"<p>{' '.join(told)}</p>"
