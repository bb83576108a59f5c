"""docs/benchmarks/gateway.md, out of a result."""

import statistics
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

from loadtest.gateway.result import (
    DIRECT,
    LARGE,
    LOW,
    OURS,
    Leaving,
    Memory,
    Result,
    Run,
    StageTimes,
    Streams,
    Yardstick,
)
from loadtest.peers.page import make_section

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


def make_page(result: Result) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in result.versions.items())
    sizes = ", ".join(f"{name} {size:,}" for name, size in result.body_bytes.items())
    return f"""# What the gateway adds to a request

*Written by `make bench-gateway`; each part's figures come from one run, of the day that it names. {result.date},
{result.machine}, {versions}.
Other programs had {result.others:.0%} of the machine's CPUs meanwhile.*

{targets(result)}

Gateway, upstream (which reads bodies and answers at once) and callers are processes on the same machine, so that
they share its CPUs: rates say how subjects compare, CPU says what a request costs. They take turns; rounds, after
one to warm up: {result.rounds}. Figures are medians of rounds, "p99" and "longest" of a round. A body
is one JPEG in a data URL with a question, in bytes: {sizes}; "low detail" is
drawn anew as it is by default, "downscaled" with 4 megapixels left of 12. Neither is remembered, as it would be by
default, and every picture is sent to the engine with its bytes (hash first is off).

## End to end

CPU is that of the gateway's whole process, in user and kernel, for one request. A stall is a time in which its
event loop did not come round, the longest in a run; "own" is as much of it as its thread was running: the rest it
waited for a CPU, which callers and upstream want too, or for the interpreter. The loop is felt every millisecond,
in requests of their own: feeling it costs CPU. So does watching the stages below, which is in all other figures:
about a seventh of a small request's CPU. Faults are pages that the kernel had to hand out.

{table_of_runs(result.runs)}

## By stage

CPU of the thread that runs it, one request at a time. Reading and forwarding include the server's and the client's
HTTP, and the kernel's copies to and from sockets, as far as they are not left to the loop; what a stage calls is
not counted twice. Photographs are drawn by threads of libvips, which only the whole above counts. Requests a second
are what one CPU could do of that stage alone.

{table_of_stages(result.stages)}

## Yardsticks

What some things that cannot be left out take of this machine by themselves, of the 4 MB picture, in ms of CPU. A
machine's figures above are worth what these are: where they differ, so will those.

{table_of_yardsticks(result.yardsticks)}

## Copies

The base64 of a picture in a data URL is in memory once, as the body that came: it is decoded where it lies, and
written to the engine from there (`server/api/splice.py`). The kernel writes it where it stays
(`server/api/in_place.py`), all but what came before its permit: that, at most some hundred kilobytes, is copied by
uvloop, httptools and into its place. What else is made: the decoded picture, which is needed to look at it and let
go before the body is sent; and the kernel's own copies on both sides. Base64 is made a second time where the
engine's must be another: for pictures by URL or file id, and for those that are drawn anew. Where a caller breaks
base64 into lines or writes `/` as `\\/`, the whole body is parsed.

## Memory

Resident memory of a fresh gateway above its rest, at its peak while it holds so many bodies at once, in multiples
of those bodies (least-largest of the rounds).

{table_of_memory(result.memory)}

## Streams beside uploads

How much later a streamed token reaches the caller than the upstream sent it: 16 streams of a token every 10 ms,
alone and beside 4 MB pictures.

{table_of_streams(result.streams)}

{section_on_leaving(result.leaving)}

{make_section(result.peers) if result.peers else ""}

Raw data: [gateway.json](gateway.json). To repeat: `make bench-gateway`.
"""


def targets(result: Result) -> str:
    """What issue 5 asks for, and what was measured of the gateway of this checkout."""
    runs = [run for run in result.runs if run.subject == OURS]
    lines = ["| asked | measured | |", "| --- | ---: | --- |"]
    for asked, chosen, figure, most, form in (
        ("4 MB picture, header check: CPU under 8 ms", ("4 MB", 1), lambda r: r.cpu_ms, 8, "{:.1f} ms"),
        ("4 MB picture, low detail: CPU under 60 ms", (LOW, 1), lambda r: r.cpu_ms, 60, "{:.0f} ms"),
        ("4 MB picture, downscaled: CPU under 60 ms", (LARGE, 1), lambda r: r.cpu_ms, 60, "{:.0f} ms"),
        (
            "16 uploads at once: loop stalls under 6 ms",
            ("4 MB", 16),
            lambda r: r.own_stall_ms,
            6,
            "{:.1f} ms (own)",
        ),
        ("the same, waits for a CPU included", ("4 MB", 16), lambda r: r.stall_ms, 6, "{:.1f} ms"),
    ):
        mine = [run for run in runs if (run.body, run.callers) == chosen]
        if mine:
            lines.append(verdict(asked, middle(mine, figure), most, form))
    for count in sorted({each.uploads for each in result.memory if each.subject == OURS}):
        held = [each.bodies for each in result.memory if (each.subject, each.uploads) == (OURS, count)]
        asked = f"memory at its peak under 3 bodies' worth, {count} held"
        lines.append(verdict(asked, statistics.median(held), 3, "{:.2f}"))
    for stream, what in ((True, "a stream"), (False, "before its answer begins")):
        left = [each.p99_ms for each in result.leaving if (each.subject, each.stream) == (OURS, stream)]
        if left:
            asked = f"caller leaves {what}: engine cut off within 100 ms, p99"
            lines.append(verdict(asked, statistics.median(left), 100, "{:.1f} ms"))
    return "\n".join(lines)


def verdict(asked: str, found: float, most: float, form: str) -> str:
    return f"| {asked} | {form.format(found)} | {'met' if found < most else 'missed'} |"


def table_of_runs(runs: Sequence[Run]) -> str:
    lines = [
        "| body | callers | | requests/s | p50, ms | p99, ms | CPU, ms | kernel, ms | faults | stall, ms | own |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for (body, callers, subject), mine in grouped(runs, lambda run: (run.body, run.callers, run.subject)):
        direct = subject == DIRECT
        numbers = [
            f"{middle(mine, lambda r: r.per_s):,.0f}",
            f"{middle(mine, lambda r: r.p50_ms):.2f}",
            f"{middle(mine, lambda r: r.p99_ms):.2f}",
            "" if direct else f"{middle(mine, lambda r: r.cpu_ms):.2f}",
            "" if direct else f"{middle(mine, lambda r: r.system_ms):.2f}",
            "" if direct else f"{middle(mine, lambda r: r.faults):,.0f}",
            "" if direct else f"{middle(mine, lambda r: r.stall_ms):.1f}",
            "" if direct else f"{middle(mine, lambda r: r.own_stall_ms):.1f}",
        ]
        lines.append(f"| {body} | {callers} | {subject} | {' | '.join(numbers)} |")
    return "\n".join(lines)


def table_of_stages(stages: Sequence[StageTimes]) -> str:
    lines = ["| body | stage | median, ms | p99, ms | requests/s |", "| --- | --- | ---: | ---: | ---: |"]
    for (body, stage), mine in grouped(stages, lambda each: (each.body, each.stage)):
        half, most = middle(mine, lambda s: s.median_ms), middle(mine, lambda s: s.p99_ms)
        lines.append(f"| {body} | {stage} | {half:.3f} | {most:.3f} | {1000 / half:,.0f} |")
    return "\n".join(lines)


def table_of_yardsticks(yardsticks: Sequence[Yardstick]) -> str:
    rows = [f"| {each.what} | {each.ms:.2f} |" for each in yardsticks]
    return "\n".join(["| | CPU, ms |", "| --- | ---: |", *rows])


def table_of_memory(memory: Sequence[Memory]) -> str:
    lines = ["| | bodies held | at rest, MB | peak, MB | bodies' worth |", "| --- | ---: | ---: | ---: | ---: |"]
    for (subject, uploads), mine in grouped(memory, lambda each: (each.subject, each.uploads)):
        worth = [each.bodies for each in mine]
        idle, peak = middle(mine, lambda m: m.idle_mb), middle(mine, lambda m: m.peak_mb)
        spread = f"{statistics.median(worth):.2f} ({min(worth):.2f}-{max(worth):.2f})"
        lines.append(f"| {subject} | {uploads} | {idle:.0f} | {peak:.0f} | {spread} |")
    return "\n".join(lines)


def section_on_leaving(leaving: Sequence[Leaving]) -> str:
    if not leaving:
        return ""
    lines = ["| | left | callers | p50, ms | p99, ms | longest, ms |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    for each in leaving:
        what = "a stream, behind its first token" if each.stream else "a whole answer, before its first byte"
        figures = f"{each.p50_ms:.2f} | {each.p99_ms:.2f} | {each.worst_ms:.2f}"
        lines.append(f"| {each.subject} | {what} | {each.callers} | {figures} |")
    table = "\n".join(lines)
    return f"""## Callers that leave

From the moment that a caller closes its connection to the moment that the upstream sees its own closed, which is
when an engine stops working: callers one after another, nothing else under way.

{table}"""


def table_of_streams(streams: Sequence[Streams]) -> str:
    lines = [
        "| | pictures | tokens | p50, ms | p99, ms | longest, ms |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for (subject, beside), mine in grouped(streams, lambda each: (each.subject, each.uploads > 0)):
        uploads = round(middle(mine, lambda s: s.uploads)) if beside else 0
        figures = (
            f"{middle(mine, figure):.2f}"
            for figure in (lambda s: s.p50_ms, lambda s: s.p99_ms, lambda s: s.worst_ms)
        )
        lines.append(f"| {subject} | {uploads} | {mine[0].tokens} | {' | '.join(figures)} |")
    return "\n".join(lines)


def grouped(things: Iterable[T], key: Callable[[T], K]) -> list[tuple[K, list[T]]]:
    """In the order in which their keys were first met."""
    groups: dict[K, list[T]] = {}
    for thing in things:
        groups.setdefault(key(thing), []).append(thing)
    return list(groups.items())


def middle(things: Iterable[T], figure: Callable[[T], float]) -> float:
    return statistics.median(map(figure, things))
