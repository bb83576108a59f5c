"""docs/benchmarks/embedding-cache.md, out of a result."""

import statistics
from collections.abc import Iterable, Iterator

from loadtest.embedding_cache.result import (
    AGAIN,
    COLD,
    DISK,
    EXAMPLE,
    FIRST,
    HOST,
    OURS,
    OWN,
    RESTART,
    SHARED,
    STOCK,
    TEXT,
    TIERS,
    Result,
)

SUBJECTS = (STOCK, EXAMPLE, OURS)
# What issue 7 asks of every warm tier of ours, in multiples of cold, by side; and of the forward path on a miss.
FASTER = {448: 50, 1024: 150}
MOST_ADDED = 0.01
WARM = (OWN, HOST, DISK, RESTART, SHARED)
# Like is held against like: what an engine does for its first time takes longer, whatever is plugged in.
AGAINST = {DISK: (HOST, DISK), RESTART: (RESTART, SHARED)}
# What our own metric must have said of each: a figure under a wrong heading is none.
FOUND = {HOST: "hit_host", DISK: "hit_disk", RESTART: "hit_disk", SHARED: "hit_shared", COLD: "miss"}


def make_page(result: Result) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in result.versions.items())
    sizes = " and ".join(f"{size // 1000:,} KB at {side}x{side}" for side, size in result.embedding_bytes.items())
    starts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result.start_s.items())
    return f"""# Embeddings that are kept

*Written by `make bench-cache`; every figure comes from that run. {result.date}, {result.machine}, {versions}.
It took {result.took_s / 60:.0f} minutes; before or after, others had {result.others:.0%} of the machine's CPUs.*

{targets(result)}

A checkpoint with Qwen3.5-9B's real vision tower (27 blocks, 1152 wide, {result.tower_bytes / 1e6:.0f} MB of
seeded random weights) on two layers of the bundled model's language model, so that the encoder is nearly all that a
picture costs, on real vLLM on CPUs. With all six of its layers, 1,024 tokens of text alone took most of a second in
first tries, and no cache could have been fifty times as fast as the encoder: two layers lower that floor, and raise
every ratio here. What is measured is the time to first token of one request at a time, each with
its picture's bytes and a prompt that begins like no other's (nothing of prefix caching). **On a GPU encoding takes
tens of milliseconds: ratios are smaller there**, and what is saved is the GPU's time. An embedding is as wide as
the language model, which is 256 here and 4096 in Qwen3.5-9B: {sizes}, a sixteenth of that model's.

## Time to first token

Milliseconds: median (least-largest) of so many requests, and how many times faster than the subject's own cold
median. "In vLLM's own memory" is vLLM's, whoever is plugged in: about one batch's worth of tokens. The other tiers
are asked for more pictures in turn than that holds; files are in the kernel's page cache. ECExampleConnector is
vLLM's own debugging connector: unbounded, unchecked, written in the forward path. Stock vLLM encodes again whatever
has left its memory, on a second engine, and after a restart. "As many tokens of text" is a request without a
picture: less than that no cache can make of one. What an engine just started does for the first time takes longer:
its first text of that length is the floor of "after an engine restart" and of "on a second engine", and these are
held against ECExampleConnector after a restart, the others against its disk. There vLLM also prepares each
picture's pixels anew, where a running engine has kept them: no connector is asked about that.

{chr(10).join(table_of_tiers(result, side) for side in sides(result))}

## On a miss

The same fresh picture on an engine without a connector and on one with ours, side by side, the order taking turns:
what ours adds to cold, by the clock, is the median of the pairs' differences (and the least and largest: the noise
of two engines on these CPUs). "In calls" is what all calls of the connector took in both processes, by a watch
around each, and "held back" how long the scheduler was told to come again while our tiers were asked: these two are
what it adds, without the noise.

{table_of_pairs(result)}

## How often the encoder runs

By a watch on vLLM's own call that saves what it has just encoded. Requests are those to all of a subject's engines,
warm-up included; ours were two engines and a restart.

{table_of_counts(result)}

Every engine was first asked about another, smaller picture. Some were started two at a time; but for the pairs,
only one was asked, while the other slept. Starting took, until both were ready: {starts}.

Raw data: [embedding-cache.json](embedding-cache.json). To repeat: `make bench-cache` (10 GB of memory: two engines
at a time).
"""


def sides(result: Result) -> list[int]:
    return sorted({each.side for each in result.asked})


def times(result: Result, subject: str, side: int, tier: str) -> list[float]:
    return [
        each.first_token_s for each in result.asked if (each.subject, each.side, each.tier) == (subject, side, tier)
    ]


def median(seconds: Iterable[float]) -> float | None:
    found = list(seconds)
    return statistics.median(found) if found else None


def faster(result: Result, subject: str, side: int, tier: str) -> float | None:
    cold, warm = (median(times(result, subject, side, each)) for each in (COLD, tier))
    return cold / warm if cold and warm else None


def targets(result: Result) -> str:
    lines = ["| asked | measured | |", "| --- | ---: | --- |"]
    lines += [f"| {asked} | {measured} | {'met' if met else 'missed'} |" for asked, measured, met in judged(result)]
    return "\n".join(lines)


def judged(result: Result) -> Iterator[tuple[str, str, bool]]:
    for side in sides(result):
        for tier in WARM:
            cold, warm = (median(times(result, OURS, side, each)) for each in (COLD, tier))
            wanted = FASTER[side]
            if cold and warm:
                asked = f"{side}x{side}, {tier}: {wanted} times faster than cold ({1000 * cold / wanted:,.0f} ms)"
                floor = floor_of(result, side, tier)
                yield asked, f"{cold / warm:,.0f} ({1000 * warm:,.0f} ms; {floor})", cold / warm >= wanted
    for side in sides(result):
        for theirs_in, tiers in AGAINST.items():
            theirs = median(times(result, EXAMPLE, side, theirs_in))
            of = {tier: median(times(result, OURS, side, tier)) for tier in tiers}
            known = {tier: seconds for tier, seconds in of.items() if seconds is not None}
            if theirs is not None and known:
                slowest = max(known, key=lambda tier: known[tier])
                asked = f"{side}x{side}: none slower than ECExampleConnector {theirs_in} ({theirs * 1000:.0f} ms)"
                yield asked, f"{known[slowest] * 1000:.0f} ms ({slowest})", known[slowest] <= theirs
    for side in sides(result):
        added = [(pair.calls_s + pair.waited_s) / pair.without_s for pair in result.pairs if pair.side == side]
        if added:
            share = statistics.median(added)
            yield (
                f"{side}x{side}: under {MOST_ADDED:.0%} of cold added on a miss",
                f"{share:.2%}",
                share < MOST_ADDED,
            )
    for count in result.counts:
        if count.subject == OURS:
            asked = (
                f"{count.pictures} pictures, {count.requests} requests, {count.engines} engines: as many encodes"
            )
            yield asked, str(count.encoder_runs), count.encoder_runs == count.pictures
    strayed = [
        each for each in result.asked if each.subject == OURS and each.found not in ("", FOUND.get(each.tier, ""))
    ]
    yield "every request found where its heading says, by our metric", f"{len(strayed)} were not", not strayed


def floor_of(result: Result, side: int, tier: str) -> str:
    """What no cache can be faster than."""
    of_text = median(times(result, STOCK, side, FIRST if tier in AGAINST[RESTART] else TEXT))
    return "text not measured" if of_text is None else f"text {1000 * of_text:,.0f} ms"


def table_of_tiers(result: Result, side: int) -> str:
    lines = [f"### {side}x{side}", "", "| | " + " | ".join(SUBJECTS) + " |", "| --- |" + " ---: |" * len(SUBJECTS)]
    for tier in TIERS:
        cells = [cell(result, subject, side, tier) for subject in SUBJECTS]
        if any(cells):
            lines.append(f"| {tier} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def cell(result: Result, subject: str, side: int, tier: str) -> str:
    found = [1000 * each for each in times(result, subject, side, tier)]
    if not found:
        return ""
    text = f"{statistics.median(found):,.0f} ({min(found):,.0f}-{max(found):,.0f}), n={len(found)}"
    ratio = faster(result, subject, side, tier)
    return text if tier in (COLD, AGAIN, TEXT, FIRST) or ratio is None else f"{text}: **{ratio:,.0f}x**"


def table_of_pairs(result: Result) -> str:
    lines = [
        "| | pairs | cold, ms | added by the clock, ms | of cold | in calls, ms | held back, ms | of cold |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for side in sorted({pair.side for pair in result.pairs}):
        pairs = [pair for pair in result.pairs if pair.side == side]
        cold = statistics.median(pair.without_s for pair in pairs)
        differences = [1000 * (pair.with_s - pair.without_s) for pair in pairs]
        calls, waited = (statistics.median(s) for s in zip(*((p.calls_s, p.waited_s) for p in pairs), strict=True))
        clock = statistics.median(differences)
        lines.append(
            f"| {side}x{side} | {len(pairs)} | {1000 * cold:,.0f} | "
            f"{clock:+,.0f} ({min(differences):+,.0f} to {max(differences):+,.0f}) | {clock / cold / 1000:+.1%} | "
            f"{1000 * calls:.2f} | {1000 * waited:.2f} | {(calls + waited) / cold:.3%} |"
        )
    return "\n".join(lines)


def table_of_counts(result: Result) -> str:
    lines = ["| | pictures | requests | engines | encoder runs |", "| --- | ---: | ---: | ---: | ---: |"]
    lines += [
        f"| {count.subject} | {count.pictures} | {count.requests} | {count.engines} | {count.encoder_runs} |"
        for count in result.counts
    ]
    return "\n".join(lines)
