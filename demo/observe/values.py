"""What dashboards show just now: each panel's newest values in its unit, one line a panel."""

import math
import re
from collections.abc import Callable, Iterator, Sequence

import httpx2

from demo.observe.programs import Prometheus, Sample
from deploy.grafana.queries import Asked, Shown

SHOWN = 4
LABEL = re.compile(r"\{\{(\w+)\}\}")
BINARY = ("", "Ki", "Mi", "Gi", "Ti")


def missing(panel: Shown, prometheus: Prometheus) -> list[str]:
    """Its queries for which Prometheus has no number."""
    return [query.expr for query in panel.queries if not numbers(prometheus.ask(query.expr))]


def numbers(samples: Sequence[Sample]) -> list[Sample]:
    """Without divisions by zero: nothing happened that a share or a percentile could be told of."""
    return [sample for sample in samples if math.isfinite(sample.value)]


def lines(panels: Sequence[Shown], prometheus: Prometheus) -> Iterator[str]:
    """Dashboards and rows as headings."""
    board = row = ""
    for panel in panels:
        if panel.board != board:
            board, row = panel.board, ""
            yield f"\n== {board}"
        if panel.row != row:
            row = panel.row
            yield f"  -- {row}"
        yield f"    {panel.title:<34} {told(panel, prometheus)}"


def told(panel: Shown, prometheus: Prometheus) -> str:
    """Its first few series."""
    found = []
    for query in panel.queries:
        try:
            samples = numbers(prometheus.ask(query.expr))
        except httpx2.HTTPStatusError as problem:
            return f"not answered: {problem.response.text[:200]}"
        found += [f"{label(query, sample)}{value(panel, sample)}" for sample in samples]
    if not found:
        return "no data"
    rest = len(found) - SHOWN
    return ", ".join(found[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def label(query: Asked, sample: Sample) -> str:
    if query.legend in ("", "__auto"):
        return ""
    return LABEL.sub(lambda found: sample.labels.get(found.group(1), ""), query.legend).strip() + ": "


def value(panel: Shown, sample: Sample) -> str:
    if panel.kind == "table":
        hidden = ("__name__", "job", "instance", "exported_engine")
        return " ".join(f"{name}={text}" for name, text in sorted(sample.labels.items()) if name not in hidden)
    return UNITS.get(panel.unit, plain)(sample.value)


def plain(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def share(number: float) -> str:
    return f"{number:.1%}"


def seconds(number: float) -> str:
    return f"{number * 1000:.3g} ms" if number < 1 else f"{number:.3g} s"


def size(number: float) -> str:
    power = min(int(math.log(number, 1024)), len(BINARY) - 1) if number >= 1 else 0
    return f"{number / 1024**power:.4g} {BINARY[power]}B"


UNITS: dict[str, Callable[[float], str]] = {
    "percentunit": share,
    "s": seconds,
    "bytes": size,
    "Bps": lambda number: f"{size(number)}/s",
    "reqps": lambda number: f"{plain(number)}/s",
    "ops": lambda number: f"{plain(number)}/s",
    "watt": lambda number: f"{plain(number)} W",
    "celsius": lambda number: f"{plain(number)} °C",
}
