"""docs/benchmarks/soak.md and .svg, out of what was measured."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from html import escape
from itertools import cycle
from statistics import median

from loadtest.reporting.intervals import Estimate
from loadtest.reporting.plots import COLOURS, HEIGHT, LEFT, WIDTH, plot_timeline, unit_of
from loadtest.reporting.report import Line, Timeline
from loadtest.soak.mix import FULL, KINDS
from loadtest.soak.processes import COMPILED
from loadtest.soak.result import (
    DAY_S,
    MOST_FILES,
    MOST_MB,
    MOST_SHARE,
    Growth,
    Result,
    Sample,
    Watched,
    Window,
    growth_of,
    none_stayed_open,
)

SPAN_S = 300
MOST_REFUSED = 0.01  # of the requests, for want of room: at 80 % a queue comes and goes
STYLE = "<style>text{font:11px sans-serif;fill:#555}.grid{stroke:#ddd}svg{background:#fff}</style>"
SHOWN_SIZES = (
    "fovea_encoder_cache_bytes host",
    "fovea_encoder_cache_bytes disk",
    "fovea_encoder_cache_evictions_total host",
    "fovea_encoder_cache_evictions_total disk",
    "fovea_requests_in_flight",
)


def make_page(result: Result) -> str:
    growths = [(each, growth_of(each, result.lasted_s)) for each in result.watched]
    return "\n".join(
        [
            "# Half an hour under load",
            "",
            f"*Written by `make bench-soak` (`{result.command}`), {result.date}, {result.machine}.*",
            f"*{', '.join(f'{name} {number}' for name, number in result.versions.items())}; the soak lasted "
            f"{result.lasted_s / 60:.1f} minutes; its processes had {result.busy:.0%} of their CPUs, others "
            f"{result.others:.0%} of a CPU of the machine.*",
            "",
            "| asked | measured | |",
            "| --- | --- | --- |",
            *verdicts(result, growths),
            "",
            "Real vLLM on the CPU with the bundled model in FP8 and its embedding cache (memory and disk), a real",
            "gateway with four tenants, and callers that are a process of their own share the same CPUs: a",
            f"closed loop got {result.capacity_per_s:.1f} visits a second out of this arrangement, then they came",
            f"at {result.rate_per_s:.1f} ({result.rate_per_s / result.capacity_per_s:.0%}), as a Poisson process; "
            f"95 % were sent within {result.late_ms:.1f} ms of their time.",
            "The caches are so small that they are full in the first minutes, and so is oneDNN's of shapes",
            f"({', '.join(f'`{name}={value}`' for name, value in COMPILED.items())}). [Raw data](soak.json).",
            "",
            "![Resident memory and open files](soak.svg)",
            "",
            *table_of_processes(growths),
            *table_of_spans(result),
            *table_of_sizes(result),
            *table_of_outcomes(result.windows),
        ]
    )


def verdicts(result: Result, growths: Sequence[tuple[Watched, Growth]]) -> Iterator[str]:
    judged = [(each, growth) for each, growth in growths if each.judged]
    grow = [each.name for each, growth in judged if not growth.memory_is_flat]
    opened = [each.name for each, growth in judged if not growth.files_are_flat]
    stayed = [each.name for each, _ in judged if not none_stayed_open(each)]
    rise = max((growth.rss_mb.value for _, growth in judged), default=0.0)
    yield row(
        f"resident memory flat: at most {MOST_SHARE:.0%}, or {MOST_MB:g} MB, more after the first third",
        f"{rise:+.1f} MB at most, of one process" + named(grow),
        not grow and bool(judged),
    )
    yield row("open files flat: not one more", f"of {len(judged)} processes" + named(opened), not opened)
    yield row(
        "at rest, no more open than at rest before", f"of {len(judged)} processes" + named(stayed), not stayed
    )
    yield row("no process came or ended", ", ".join(result.changed) or "none", not result.changed)
    asked, refused = count_of(result.windows)
    yield row(
        f"refused for want of room: at most {MOST_REFUSED:.0%}",
        f"{refused:,} of {asked:,} requests",
        refused <= MOST_REFUSED * asked,
    )
    found = ", ".join(f"{count} x {what}" for what, count in sorted(result.unexpected.items()))
    yield row("no outcome but those that a request asks for", found or "none other", not result.unexpected)


def count_of(windows: Sequence[Window]) -> tuple[int, int]:
    """Of all requests, and of those that were refused for want of room."""
    outcomes = Counter[str]()
    for window in windows:
        for each in window.counts.values():
            outcomes.update(each)
    return outcomes.total(), sum(outcomes[code] for code in FULL)


def row(asked: str, measured: str, is_met: bool) -> str:
    return f"| {asked} | {measured} | {'met' if is_met else 'missed'} |"


def named(names: Sequence[str]) -> str:
    return f"; not: {', '.join(names)}" if names else ""


def table_of_processes(growths: Sequence[tuple[Watched, Growth]]) -> list[str]:
    minutes = growths[0][1].over_s / 60 if growths else 0.0
    lines = [
        "## Each process",
        "",
        f"What it grew by in the {minutes:.0f} minutes after the first third, by a Theil-Sen line through its",
        "samples, with the 95 % interval of a block bootstrap of what lies about it. It is flat if the upper",
        f"end is below the bound ({MOST_SHARE:.0%} of what it has, at least {MOST_MB:g} MB: allocators keep what",
        f"is freed; {MOST_FILES:g} files). A day is what the line would come to if it went on. Files are",
        "descriptors that are no sockets; sockets follow the requests under way, and are compared at rest. The",
        "driver and the host of pictures are seen, not judged.",
        "",
        "| process | MB then | grew by, MB | bound | a day, MB | private, MB | files grew by "
        "| files + sockets at rest, before and after | threads | |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for each, growth in growths:
        lines.append(f"| {' | '.join(cells(each, growth))} |")
    return [*lines, ""]


def cells(each: Watched, growth: Growth) -> Iterator[str]:
    last = each.samples[-1]
    yield each.name
    yield f"{growth.at_mb:,.1f}"
    yield with_interval(growth.rss_mb, 2)
    yield f"{growth.most_mb:.1f}"
    yield f"{growth.rss_mb.value / growth.over_s * DAY_S:+.0f}"
    yield f"{last.private_mb:,.1f}"
    yield with_interval(growth.files, 1)
    yield " and ".join(f"{at.files} + {at.sockets}" for at in (each.rest_before, each.rest_after) if at)
    yield f"{last.threads}"
    flat = growth.memory_is_flat and growth.files_are_flat and none_stayed_open(each)
    yield ("flat" if flat else "**not flat**") if each.judged else "seen"


def with_interval(found: Estimate, digits: int) -> str:
    return f"{found.value:+.{digits}f} ({found.low:+.{digits}f} to {found.high:+.{digits}f})"


def table_of_spans(result: Result) -> list[str]:
    """By five minutes: medians of samples, and of windows."""
    names = [each.name for each in result.watched if each.judged]
    ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in result.ratios.items())
    lines = [
        "## By five minutes",
        "",
        "Resident MB and, in brackets, all that is open: medians. TTFT and the whole answer of streams: the median",
        f"of windows' medians, in ms. The last third's median beside the first's: {ratios or 'not known'}.",
        "",
        f"| from minute | requests | {' | '.join(names)} | TTFT | whole |",
        f"| ---: | ---: |{' ---: |' * len(names)} ---: | ---: |",
    ]
    for from_s in range(0, max(1, int(result.lasted_s)), SPAN_S):
        windows = [window for window in result.windows if from_s <= window.from_s < from_s + SPAN_S]
        if not windows:
            continue
        count = sum(sum(each.values()) for window in windows for each in window.counts.values())
        held = [held_in(each, from_s) for each in result.watched if each.judged]
        ttft = middle([window.ttft_ms[0] for window in windows if window.ttft_ms])
        e2e = middle([window.e2e_ms[0] for window in windows if window.e2e_ms])
        lines.append(f"| {from_s // 60} | {count:,} | {' | '.join(held)} | {ttft} | {e2e} |")
    return [*lines, ""]


def held_in(watched: Watched, from_s: float) -> str:
    kept = [sample for sample in watched.samples if from_s <= sample.at_s < from_s + SPAN_S]
    if not kept:
        return ""
    opened = median(sample.files + sample.sockets for sample in kept)
    return f"{median(sample.rss_mb for sample in kept):,.1f} ({opened:.0f})"


def middle(values: Sequence[float]) -> str:
    return f"{median(values):.0f}" if values else ""


def table_of_sizes(result: Result) -> list[str]:
    """At the end of the first and second third and of the whole."""
    known = [name for name in SHOWN_SIZES if result.sizes.get(name)]
    if not known:
        return []
    lines = [
        "## What is bounded",
        "",
        "| | after a third | after two | at the end |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name in known:
        values = result.sizes[name]
        shown = [values[min(len(values) - 1, len(values) * third // 3)] for third in (1, 2, 3)]
        lines.append(f"| `{name}` | {' | '.join(f'{value:,.0f}' for value in shown)} |")
    return [*lines, ""]


def table_of_outcomes(windows: Sequence[Window]) -> list[str]:
    totals: dict[str, Counter[str]] = {}
    for window in windows:
        for kind, outcomes in window.counts.items():
            totals.setdefault(kind, Counter()).update(outcomes)
    lines = ["## What was asked, and what became of it", "", "| asked | outcomes |", "| --- | --- |"]
    for kind in KINDS:
        if kind in totals:
            found = ", ".join(f"{count:,} x `{what}`" for what, count in totals[kind].most_common())
            lines.append(f"| {kind} | {found} |")
    return [*lines, ""]


def make_plot(result: Result) -> str:
    """One file: memory above, what is open below, of each judged process, and which is which."""
    judged = [each for each in result.watched if each.judged]
    memory = [line_of(each, lambda sample: sample.rss_mb * 2**20) for each in judged]
    opened = [line_of(each, lambda sample: float(sample.files + sample.sockets)) for each in judged]
    plots = [Timeline("resident memory", "bytes", tuple(memory)), Timeline("open files", "", tuple(opened))]
    parts = [
        f'<text x="{LEFT}" y="{place * (HEIGHT + 20) + 14}">{escape(title_of(plot))}</text>'
        + plot_timeline(plot)
        .partition("</svg>")[0]
        .replace("<svg ", f'<svg y="{place * (HEIGHT + 20) + 18}" width="{WIDTH}" height="{HEIGHT}" ', 1)
        + "</svg>"
        for place, plot in enumerate(plots)
    ]
    top = 2 * (HEIGHT + 20) + 26
    for place, (each, colour) in enumerate(zip(judged, cycle(COLOURS), strict=False)):
        parts.append(f'<text x="{LEFT}" y="{top + 16 * place}" style="fill:{colour}">{escape(each.name)}</text>')
    height = top + 16 * len(judged)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">'
    )
    return f"{head}{STYLE}{''.join(parts)}</svg>\n"


def line_of(watched: Watched, value: Callable[[Sample], float]) -> Line:
    return Line(watched.name, tuple((sample.at_s, value(sample)) for sample in watched.samples))


def title_of(timeline: Timeline) -> str:
    return f"{timeline.name}, {unit_of(timeline)}" if timeline.unit else timeline.name
