"""What was measured of counting, and the page about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from statistics import median

MOST_PART, MOST_SCRAPE_MS = 0.02, 100.0


@dataclass(frozen=True, slots=True)
class Block:
    """Requests of which the gateway counted all or none; CPU of its process in microseconds each."""

    counts: bool
    cpu_us: float


@dataclass(frozen=True, slots=True)
class Counted:
    """What is called to count one of them, how often, and the microseconds that these calls take by themselves."""

    name: str
    calls: dict[str, float]
    calls_us: float


@dataclass(frozen=True, slots=True)
class Scrape:
    """Milliseconds of CPU: of one process that serves `alone`; of all processes where `workers` serve together."""

    engines: int
    models: int
    tenants: int
    workers: int
    series: int
    bytes: int
    alone_ms: list[float]
    together_ms: list[float]


@dataclass(frozen=True, slots=True)
class Result:
    """`pairs`: (counting, not counting) of each round."""

    date: str
    machine: str
    requests: int
    callers: int
    pairs: Sequence[tuple[Block, Block]]
    calls: list[Counted]
    scrapes: list[Scrape]


def make_page(result: Result) -> str:
    return "\n".join(
        [
            "# What metrics cost",
            "",
            f"*Written by `make bench-metrics`, {result.date}, {result.machine}.*",
            "",
            *verdicts(result),
            "",
            *turns(result),
            "",
            *calls(result),
            "",
            *scrapes(result),
            "",
        ]
    )


def verdicts(result: Result) -> list[str]:
    small, scrape = result.calls[0], result.scrapes[0]
    part = small.calls_us / cpu_us(result)
    added, least, most = difference(result)
    turns = "met" if most < MOST_PART else "missed" if least > MOST_PART else "too close to say"
    scrape_ms = median(scrape.alone_ms)
    asked = f"{MOST_PART:.0%} of a small request's CPU"
    return [
        "| asked | measured | |",
        "| --- | ---: | --- |",
        f"| counting: under {asked}, by its calls | {part:.1%} | {met(part < MOST_PART)} |",
        f"| the same, by turns with and without | {added:.1%} ({least:.1%} to {most:.1%}) | {turns} |",
        f"| a scrape of {scrape.engines} engines: under {MOST_SCRAPE_MS:.0f} ms of CPU | {scrape_ms:.1f} ms "
        f"| {met(scrape_ms < MOST_SCRAPE_MS)} |",
    ]


def met(is_so: bool) -> str:
    return "met" if is_so else "missed"


def cpu_us(result: Result) -> float:
    """Of a small request that is counted."""
    return median(counting.cpu_us for counting, _ in result.pairs)


def difference(result: Result) -> tuple[float, float, float]:
    """What counting adds, as a part of what a request costs without: the median of pairs, and the bounds within
    which their true median lies with 95 %, by ranks."""
    parts = sorted(counting.cpu_us / silent.cpu_us - 1 for counting, silent in result.pairs)
    least = max(0, floor((len(parts) - 1.96 * len(parts) ** 0.5) / 2))
    return median(parts), parts[least], parts[-1 - least]


def turns(result: Result) -> list[str]:
    pairs, counting_us = result.pairs, cpu_us(result)
    silent_us = median(silent.cpu_us for _, silent in pairs)
    return [
        "## Requests",
        "",
        f"One gateway in front of an upstream that answers at once, {result.callers} callers, chats of 155 bytes.",
        f"It counts or its instruments do nothing, in turns of {result.requests} requests; pairs: {len(pairs)}.",
        f"Medians of CPU a request: {counting_us:.1f} µs counting, {silent_us:.1f} µs not, user and kernel. The",
        "part is the median over pairs, with its bounds at 95 %. Calls of muted instruments stay in both;",
        "so the calls below are the better measure of so little: noted while requests were served, and made again,",
        "one after another. Clocks that are read for them are not in it (two a request, one an event).",
    ]


def calls(result: Result) -> list[str]:
    lines = ["| | µs | calls |", "| --- | ---: | --- |"]
    for each in result.calls:
        worded = ", ".join(f"{count:.3g} `{work}`" for work, count in sorted(each.calls.items()))
        lines.append(f"| {each.name} | {each.calls_us:.2f} | {worded} |")
    return lines


def scrapes(result: Result) -> list[str]:
    lines = [
        "## Scrapes",
        "",
        "CPU of a scrape, medians. Every tenant has asked for every model by four routes with five outcomes, which",
        "is more than any gateway will see; those beyond 50 share 16 classes, so 66 are all that there can be.",
        "Alone: one process, whose event loop does nothing else meanwhile. Together: all processes of a gateway",
        "with workers, the supervisor's included, added up.",
        "",
        "| engines | models | tenants | series | KB | alone, ms | workers | together, ms |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for each in result.scrapes:
        lines.append(
            f"| {each.engines} | {each.models} | {each.tenants} | {each.series:,} | {each.bytes / 1024:,.0f} | "
            f"{median(each.alone_ms):.1f} | {each.workers} | {median(each.together_ms):.1f} |"
        )
    return lines
