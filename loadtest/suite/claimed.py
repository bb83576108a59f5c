"""What each benchmark's JSON lets us claim: ratios, each out of one run; those that README shows come first."""

import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

from loadtest import bench_quantize
from loadtest.embedding_cache import result as cache
from loadtest.embedding_cache.page import faster
from loadtest.end_to_end import result as end_to_end
from loadtest.gateway import counting
from loadtest.gateway.result import read_result
from loadtest.peers.ours import NAME as OURS
from loadtest.peers.page import delay, held_mb, rate, token_cpu
from loadtest.peers.result import LARGE, MIDDLE, SMALL, UPSTREAM, Peers
from loadtest.scaling.result import BOUND, Growth
from loadtest.soak.result import Sample, Watched, growth_of
from loadtest.suite.benchmarks import Benchmark

TIERS = (cache.OWN, cache.HOST, cache.DISK, cache.RESTART, cache.SHARED)
Claims = Iterator[str]


def times(ratio: float) -> str:
    """Two digits that count, and no more."""
    return f"{float(f'{ratio:.2g}'):,.10g}"


def of_gateway(raw: str) -> Claims:
    peers = read_result(raw).peers
    if peers is None:
        return
    for body, what in ((SMALL, "a small request"), (LARGE, "a 4 MB picture"), (MIDDLE, "a 500 KB picture")):
        others = beside(peers, cpu(body))
        if others:
            yield f"CPU of the gateway for {what}: {others}"
    if others := beside(peers, token_cpu):
        yield f"CPU of the gateway for a streamed token: {others}"
    if others := beside(peers, held_mb):
        yield f"memory that 32 uploads of 4 MB at once add: {others}"
    with_ours, without = delay(peers, OURS, True), delay(peers, UPSTREAM, True)
    theirs = delay(peers, "vllm-router", True)
    if with_ours and without and theirs:
        yield (
            f"a streamed token's delay beside uploads of pictures, p99: {times(with_ours / theirs)} x that of "
            f"vllm-router ({times(with_ours / without)} x that with no gateway)"
        )


def cpu(body: str) -> Callable[[Peers, str], float | None]:
    """Seconds of CPU for a request."""

    def seconds(peers: Peers, name: str) -> float | None:
        per_cpu_s = rate(body)(peers, name)
        return 1 / per_cpu_s if per_cpu_s else None

    return seconds


def beside(peers: Peers, figure: Callable[[Peers, str], float | None]) -> str:
    ours = figure(peers, OURS)
    theirs = {name: figure(peers, name) for name in peers.versions if name != OURS}
    return ", ".join(f"{times(ours / value)} x that of {name}" for name, value in theirs.items() if ours and value)


def of_cache(raw: str) -> Claims:
    result = cache.read_result(raw)
    for side in sorted({each.side for each in result.asked}):
        ratios = {tier: faster(result, cache.OURS, side, tier) for tier in TIERS}
        found = [f"{times(ratio)} times as soon {tier}" for tier, ratio in ratios.items() if ratio]
        if found:
            yield (
                f"first token of a repeated picture of {side}x{side} beside cold (a real vision tower, a small "
                f"language model, on CPUs): {', '.join(found)}"
            )


def of_quantize(raw: str) -> Claims:
    costs = [bench_quantize.Cost(**each) for each in json.loads(raw)["costs"]]
    of = {writer: [each for each in costs if each.writer == writer] for writer in {each.writer for each in costs}}
    ours = of[bench_quantize.OURS]
    for writer in ("oneshot", "model_free_ptq"):
        pairs = list(zip(ours, of[writer], strict=True))
        memory = statistics.median(mine.peak_mb / theirs.peak_mb for mine, theirs in pairs)
        cpu = statistics.median(mine.cpu_s / theirs.cpu_s for mine, theirs in pairs)
        yield f"our writer beside llm-compressor's `{writer}`: {times(memory)} x its memory, {times(cpu)} x its CPU"


def of_metrics(raw: str) -> Claims:
    told = json.loads(raw)
    pairs = [(counting.Block(**one), counting.Block(**other)) for one, other in told["pairs"]]
    calls = [counting.Counted(**each) for each in told["calls"]]
    result = counting.Result(**told | {"pairs": pairs, "calls": calls, "scrapes": []})
    added, least, most = counting.difference(result)
    part = calls[0].calls_us / counting.cpu_us(result)
    yield (
        f"counting adds {part:.1%} to a small request's CPU by what its calls take, {added:.1%} by turns with and "
        f"without ({least:.1%} to {most:.1%}, at 95 %)"
    )


def of_scaling(raw: str) -> Claims:
    growths = [Growth(**each) for each in json.loads(raw)["growths"]]
    flat = [each for each in growths if each.is_flat]
    yield f"{len(flat)} of {len(growths)} costs at the largest size are at most {BOUND:g} x those at the smallest"
    if grown := [f"{each.name} ({times(each.ratio())} x)" for each in growths if not each.is_flat]:
        yield f"not flat: {', '.join(grown)}"


def of_soak(raw: str) -> Claims:
    told = json.loads(raw)
    ratios: dict[str, float] = {}
    for each in told["watched"]:
        if each["judged"]:
            watched = Watched(each["name"], True, [Sample(**sample) for sample in each["samples"]])
            growth = growth_of(watched, told["lasted_s"])
            ratios[each["name"]] = (growth.at_mb + growth.rss_mb.value) / growth.at_mb
    found = ", ".join(f"{name} {ratio:.3f} x" for name, ratio in sorted(ratios.items(), key=lambda each: -each[1]))
    yield f"memory after {told['lasted_s'] / 3600:.2g} h at 80 % load, beside after the warm-up: {found}"


def of_end_to_end(raw: str) -> Claims:
    result = end_to_end.read_result(raw)

    def ratio(subject: str, against: str, kind: str, figure: end_to_end.Figure) -> str:
        found = end_to_end.ratios(result, subject, against, kind, figure)
        return f"{statistics.median(found):.2f} x ({min(found):.2f} to {max(found):.2f} by round)"

    cold, repeated, per_s = end_to_end.COLD, end_to_end.REPEATED, end_to_end.per_s
    encodes = end_to_end.encodes_each
    direct, in_front, two = end_to_end.DIRECT, end_to_end.IN_FRONT, end_to_end.TWO
    where = "a real vision tower, a small language model, on CPUs"
    in_turn = end_to_end.NGINX if result.of(end_to_end.NGINX, repeated) else end_to_end.NO_AFFINITY
    yield (
        f"two engines of vLLM and pictures that come back ({where}): {ratio(two, in_turn, repeated, per_s)} the "
        f"requests/s through Fovea that they have in turn ({in_turn}), "
        f"{ratio(two, in_turn, repeated, encodes)} the encodes"
    )
    yield (
        f"one engine of vLLM: {ratio(in_front, direct, cold, per_s)} the requests/s through Fovea that it has "
        f"directly with new pictures, {ratio(in_front, direct, repeated, per_s)} with repeated ones"
    )


CLAIMS: dict[str, Callable[[str], Claims]] = {
    "gateway": of_gateway,
    "cache": of_cache,
    "quantize": of_quantize,
    "metrics": of_metrics,
    "scaling": of_scaling,
    "soak": of_soak,
    "end-to-end": of_end_to_end,
}


def claims_of(each: Benchmark, docs: Path) -> list[str]:
    raw, _ = each.outputs(docs)
    return list(CLAIMS[each.name](raw.read_text())) if each.name in CLAIMS and raw.exists() else []
