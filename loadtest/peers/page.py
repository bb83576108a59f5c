"""The section of docs/benchmarks/gateway.md that puts ours beside other gateways, out of a result."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from loadtest.peers.ours import NAME as OURS
from loadtest.peers.result import LARGE, MIDDLE, SMALL, UPSTREAM, PeerMemory, PeerRun, Peers

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """What issue 6 asks: `figure` of ours, in multiples of that of `peer`, at least or at most `bound`."""

    what: str
    figure: "Callable[[Peers, str], float | None]"
    peer: str
    bound: float
    at_least: bool
    form: str


def rate(body: str) -> Callable[[Peers, str], float | None]:
    return lambda peers, name: middle(
        (run for run in peers.runs if (run.subject, run.body) == (name, body)), lambda run: run.per_cpu_s
    )


def token_cpu(peers: Peers, name: str) -> float | None:
    return middle(
        (each for each in peers.streams if each.subject == name and not each.pictures), lambda e: e.cpu_ms
    )


def delay(peers: Peers, name: str, beside: bool) -> float | None:
    chosen = (each for each in peers.streams if each.subject == name and (each.pictures > 0) == beside)
    return middle(chosen, lambda each: each.p99_ms)


def added_delay(peers: Peers, name: str) -> float | None:
    """Of tokens beside pictures: what it is more than without a gateway."""
    through, without = delay(peers, name, True), delay(peers, UPSTREAM, True)
    return None if through is None or without is None else max(0.0, through - without)


def held_mb(peers: Peers, name: str) -> float | None:
    return middle((each for each in peers.memory if each.subject == name), lambda each: each.added_mb)


SMALL_ONES, TOKENS = "small requests, 64 connections", "CPU for 1,000 streamed tokens"
TARGETS = (
    Target(SMALL_ONES, rate(SMALL), "vllm-router", 0.5, True, "{:,.0f}/s"),
    Target(SMALL_ONES, rate(SMALL), "production-stack", 5, True, "{:,.0f}/s"),
    Target(SMALL_ONES, rate(SMALL), "LiteLLM", 50, True, "{:,.0f}/s"),
    Target("500 KB pictures, 8 connections", rate(MIDDLE), "vllm-router", 1.0, True, "{:,.0f}/s"),
    Target("4 MB pictures, 4 connections", rate(LARGE), "vllm-router", 1.5, True, "{:,.0f}/s"),
    Target("4 MB pictures, 4 connections", rate(LARGE), "nginx", 0.5, True, "{:,.0f}/s"),
    Target(TOKENS, token_cpu, "vllm-router", 1.7, False, "{:.1f} ms"),
    Target(TOKENS, token_cpu, "LiteLLM", 0.1, False, "{:.1f} ms"),
    Target("token delay added beside pictures, p99", added_delay, "vllm-router", 0.5, False, "{:.1f} ms"),
    Target("memory of 32 uploads of 4 MB at once", held_mb, "vllm-router", 1.0, False, "{:,.0f} MB"),
)


def make_section(peers: Peers) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in peers.versions.items())
    settings = "\n".join(f"- **{name}**: {how}." for name, how in peers.settings.items())
    skipped = "".join(f"\n\n**{name}** was not measured: {why}." for name, why in peers.skipped.items())
    return f"""## Beside other gateways

*{peers.date}, {peers.machine}, {versions}; rounds, after one to warm up: {peers.rounds}. Other programs had
{peers.others:.0%} of the machine's CPUs meanwhile.*

{table_of_targets(peers)}{skipped}

Each gateway is one process that serves on one core; upstream and callers share the other. All stand in front of the
same upstream and get the same requests, in turns, round by round; figures are medians of rounds. Rates in the table
above are requests for each second of the gateway's CPU: what its core could do, whether or not callers and upstream
keep up with it (where "core" is below 100 % in the table below, they do not, and "requests/s" are theirs, not the
gateway's). Nobody writes access logs but ours, which has its log of requests, too.

{settings}

{table_of_runs(peers.runs)}

Streams: {streams_of(peers)}. Delays are from the upstream's sending a token to the caller's having it.

{table_of_streams(peers)}

Resident memory, of all processes of a gateway, while it holds 32 uploads of 4 MB, whose answers all wait:

{table_of_memory(peers.memory)}"""


def streams_of(peers: Peers) -> str:
    tokens = max((each.tokens for each in peers.streams), default=0)
    return (
        f"{tokens:,} tokens of 64 answers, one every 10 ms each, alone and while a 4 MB picture arrives every 67 ms"
    )


def table_of_targets(peers: Peers) -> str:
    lines = ["| asked | ours | theirs | ratio | |", "| --- | ---: | ---: | ---: | --- |"]
    for target in TARGETS:
        ours, theirs = target.figure(peers, OURS), target.figure(peers, target.peer)
        asked = f"{target.what}: {'>=' if target.at_least else '<='} {target.bound:g} x {target.peer}"
        if ours is None or theirs is None:
            lines.append(f"| {asked} | | | | not measured |")
            continue
        ratio = ours / theirs if theirs else float("inf")
        figures = f"{target.form.format(ours)} | {target.form.format(theirs)} | {ratio:.2f}"
        lines.append(f"| {asked} | {figures} | {'met' if met(target, ours, theirs) else 'missed'} |")
    return "\n".join(lines)


def met(target: Target, ours: float, theirs: float) -> bool:
    bound = target.bound * theirs
    return ours >= bound if target.at_least else ours <= bound


def table_of_runs(runs: Sequence[PeerRun]) -> str:
    lines = [
        "| body | connections | | requests/s | core | CPU, ms | requests/s of CPU | p50, ms | p99, ms |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for body in unique(run.body for run in runs):
        for subject in unique(run.subject for run in runs):
            mine = [run for run in runs if (run.body, run.subject) == (body, subject)]
            if mine:
                lines.append(f"| {body} | {mine[0].connections} | {subject} | {figures_of_runs(mine)} |")
    return "\n".join(lines)


def figures_of_runs(mine: Sequence[PeerRun]) -> str:
    def of(figure: Callable[[PeerRun], float]) -> float:
        return statistics.median(map(figure, mine))

    per_s, waits = f"{of(lambda r: r.per_s):,.0f}", f"{of(lambda r: r.p50_ms):.2f} | {of(lambda r: r.p99_ms):.2f}"
    if mine[0].subject == UPSTREAM:
        return f"{per_s} | | | | {waits}"
    cpu = f"{of(lambda r: r.busy):.0%} | {of(lambda r: r.cpu_ms):.3f} | {of(lambda r: r.per_cpu_s):,.0f}"
    return f"{per_s} | {cpu} | {waits}"


def table_of_streams(peers: Peers) -> str:
    lines = [
        "| | CPU for 1,000 tokens, ms | delay p50 alone, ms | p99 | p99 beside pictures | more than with none |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for subject in unique(each.subject for each in peers.streams):
        alone = [each for each in peers.streams if each.subject == subject and not each.pictures]
        half = middle(alone, lambda each: each.p50_ms)
        cpu = None if subject == UPSTREAM else token_cpu(peers, subject)
        added = None if subject == UPSTREAM else added_delay(peers, subject)
        figures = (cpu, half, delay(peers, subject, False), delay(peers, subject, True), added)
        lines.append(f"| {subject} | {' | '.join('' if each is None else f'{each:.1f}' for each in figures)} |")
    return "\n".join(lines)


def table_of_memory(memory: Sequence[PeerMemory]) -> str:
    lines = ["| | at rest, MB | peak, MB | added, MB |", "| --- | ---: | ---: | ---: |"]
    for subject in unique(each.subject for each in memory):
        mine = [each for each in memory if each.subject == subject]
        figures = (
            middle(mine, lambda m: m.rest_mb),
            middle(mine, lambda m: m.peak_mb),
            middle(mine, lambda m: m.added_mb),
        )
        lines.append(f"| {subject} | {' | '.join(f'{each:,.0f}' for each in figures if each is not None)} |")
    return "\n".join(lines)


def unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def middle(things: Iterable[T], figure: Callable[[T], float]) -> float | None:
    figures = [figure(thing) for thing in things]
    return statistics.median(figures) if figures else None
