"""docs/benchmarks/end-to-end.md, out of a result."""

import math
import statistics
from collections.abc import Iterator, Sequence

from loadtest.end_to_end.result import (
    COLD,
    DIRECT,
    IN_FRONT,
    NGINX,
    NO_AFFINITY,
    REPEATED,
    SUBJECTS,
    TWO,
    Figure,
    Result,
    e2e_p50,
    encodes_each,
    per_s,
    ratios,
    ttft_p50,
)
from loadtest.reporting.intervals import percentile

ABOUT = {
    DIRECT: "stock `vllm serve`, nothing before it",
    IN_FRONT: "the gateway before that same engine: the difference is the gateway alone",
    NGINX: "nginx before two such engines, requests in turn",
    NO_AFFINITY: "the gateway before the two with `FOVEA_ENGINES__AFFINITY=false`: the engine with the least load "
    "is asked, in turn where they have as much",
    TWO: "the gateway before the two, as users have it: a picture goes where it was, unless that engine is fuller",
}
HEADS = (
    "", "requests/s", "beside direct", "TTFT p50, ms", "p95", "p50 beside direct", "E2E p50, ms", "beside direct",
    "encodes a picture",
)  # fmt: skip


def make_page(result: Result) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in result.versions.items())
    pictures = max(each.pictures for each in result.blocks)
    each_s = 1 / statistics.median(map(per_s, result.of(DIRECT, COLD)))
    skipped = "" if result.of(NGINX, COLD) else "\nSKIPPED: nginx is not here (`set_up.py nginx`).\n"
    return f"""# End to end

*Written by `make bench-end-to-end` (`{result.command}`); every figure comes from that run.
{result.date}, {result.machine}, {versions}. It took {result.took_s / 60:.1f} minutes,
{result.start_s:.0f} s of them until all were up; before or after, others had {result.others:.0%} of the CPUs.*

What a caller sees of Fovea between it and real vLLM, on CPUs: pictures that are new and pictures that come back,
one engine and two, with affinity and without.

{chr(10).join(f"- {line}" for line in found(result))}

{chr(10).join(table(result, COLD))}

{chr(10).join(table(result, REPEATED))}

## How it was measured

{chr(10).join(f"- *{name}*: {ABOUT[name]}." for name in SUBJECTS if result.of(name, COLD))}
{skipped}
Each engine computes on cores of its own; the gateways, nginx, the callers and the engines' HTTP servers have what
is left of the same cores, so that two engines encode less than twice as fast as one. The checkpoint has
Qwen3.5-9B's real vision tower, with random weights, before two layers of the bundled model's language model:
encoding a picture is nearly all that a request costs. Pictures are small
({result.side}x{result.side}), and a new one still keeps an engine busy for
{each_s:.1f} s (by *{DIRECT}*, cold).
**On a GPU encoding takes milliseconds: what the gateway adds is a larger part of a request there, and what affinity
saves is the GPU's time.**

{result.callers} callers, each with one request at a time: one picture, an answer of 8 tokens, a beginning like no
other's, and no prefix caching. *Cold*: {pictures} pictures, each asked about once. *Repeated*: the same ones,
each {result.times} more times, in another order each time. An engine's own memory holds {result.held} of them:
vLLM's encoder cache is as large as a batch, which is made small for it, so that one engine cannot hold all, and two
can if each sees its own. No embedding cache of Fovea's is on: with one, nothing would be encoded twice (see
[embedding-cache.md](embedding-cache.md)). The gateway is as users have it, with keys and exact prices; a picture
that an engine should hold is sent by its name alone (hash first), which matters little for pictures this small.
Every subject and round has pictures of its own, in the same order for all; the subjects take turns,
{result.rounds} rounds, and each round begins with another. With affinity, to which
engine a picture belongs is as good as drawn by lot: in {too_many(pictures, result.held):.0%} of all rounds one
engine has more of the {pictures} than it holds, so that rounds differ much; of a fleet's thousands of pictures each
engine has its part. Percentiles are
of all rounds' requests together; ratios
are of one subject's block to another's within a round: median (least-largest). How often encoders ran is what
stock vLLM logs of its steps (`--enable-logging-iteration-details`). The `vllm` command of the build for CPUs does
not start: its server is run as that would (`python -m vllm.entrypoints.openai.api_server`), with what lets vLLM
import beside a torch without CUDA:

    {result.engine_command}

Raw data: [end-to-end.json](end-to-end.json), each request's times in the order in which they ended.
"""


def found(result: Result) -> Iterator[str]:
    """What the tables say, for and against."""
    yield (
        f"**The gateway before one engine**: {shown(result, IN_FRONT, DIRECT, COLD, per_s)} x the requests/s of "
        f"that engine alone with new pictures, {shown(result, IN_FRONT, DIRECT, REPEATED, per_s)} x with repeated "
        f"ones, with {encoded(result, IN_FRONT)} encodes a picture for {encoded(result, DIRECT)}."
    )
    if result.pairs:
        added = [1000 * (pair.fovea_s - pair.direct_s) for pair in result.pairs]
        alone = 1000 * statistics.median(pair.direct_s for pair in result.pairs)
        yield (
            f"**What it costs**: one request at a time, of a picture that the engine holds, has its first token "
            f"{statistics.median(added):+.1f} ms later than the {alone:.0f} ms that it takes directly (median of "
            f"{len(added)} pairs in turns; half of them {percentile(added, 0.25):+.1f} to "
            f"{percentile(added, 0.75):+.1f} ms)."
        )
    yield (
        f"**Two engines beside one, repeated pictures**: {shown(result, TWO, DIRECT, REPEATED, per_s)} x the "
        f"requests/s, and the first token after {shown(result, TWO, DIRECT, REPEATED, ttft_p50)} x the time (p50)."
    )
    for other, how in ((NGINX, "nginx, in turn"), (NO_AFFINITY, "the gateway without affinity")):
        if result.of(other, REPEATED):
            yield beside_other(result, other, how)
    if sum(result.affinity.values()):
        share = result.affinity.get("home", 0) / sum(result.affinity.values())
        yield (
            f"Of the requests of *{TWO}* {share:.0%} went where their picture belongs, the others to the other "
            "engine, as that one had more than its share of what was under way (bounded load)."
        )


def beside_other(result: Result, other: str, how: str) -> str:
    return (
        f"**Affinity beside {how}, two engines**: repeated pictures {shown(result, TWO, other, REPEATED, per_s)} x "
        f"the requests/s, with {encoded(result, TWO)} encodes a picture for {encoded(result, other)}; new pictures "
        f"{shown(result, TWO, other, COLD, per_s)} x: affinity has nothing to give there, and "
        "how evenly they fall is chance."
    )


def too_many(pictures: int, held: int) -> float:
    """How likely it is that one of two engines gets more than `held` of `pictures`, at least half of them."""
    splits = sum(math.comb(pictures, more) for more in range(held + 1, pictures + 1))
    return min(1.0, splits / 2.0 ** (pictures - 1))


def encoded(result: Result, subject: str) -> str:
    return f"{statistics.median(map(encodes_each, result.of(subject, REPEATED))):.2f}"


def shown(result: Result, subject: str, against: str, kind: str, figure: Figure) -> str:
    return spread(ratios(result, subject, against, kind, figure))


def spread(values: Sequence[float]) -> str:
    if not values:
        return "(not measured)"
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def table(result: Result, kind: str) -> list[str]:
    lines = [
        f"## {kind.capitalize()}", "", f"| {' | '.join(HEADS)} |", "| --- |" + " ---: |" * (len(HEADS) - 1),
    ]  # fmt: skip
    return lines + [row(result, subject, kind) for subject in SUBJECTS if result.of(subject, kind)]


def row(result: Result, subject: str, kind: str) -> str:
    blocks = result.of(subject, kind)
    ttft_ms = [1000 * each for block in blocks for each in block.ttft_s]
    e2e_ms = [1000 * each for block in blocks for each in block.e2e_s]

    def beside(figure: Figure) -> str:
        return "" if subject == DIRECT else shown(result, subject, DIRECT, kind, figure)

    cells = (
        subject,
        f"{statistics.median(map(per_s, blocks)):.2f}",
        beside(per_s),
        f"{percentile(ttft_ms, 0.5):,.0f}",
        f"{percentile(ttft_ms, 0.95):,.0f}",
        beside(ttft_p50),
        f"{percentile(e2e_ms, 0.5):,.0f}",
        beside(e2e_p50),
        spread([encodes_each(block) for block in blocks]),
    )
    return f"| {' | '.join(cells)} |"
