"""What the servers' counters counted during the run: cache hits by tier, affinity, preemptions."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from loadtest.records import MetricSample
from loadtest.reporting.families import COUNTERS, split_series
from loadtest.reporting.report import Tally

GATEWAY, ENGINES = "the gateway's metrics", "the engines' metrics"
# Name of the tally, who counts, metric, label that tells outcomes apart.
BY_OUTCOME = (
    ("pictures by where their embedding came from", GATEWAY, "fovea_images_by_cache_total", "outcome"),
    ("embedding look-ups", ENGINES, "fovea_encoder_cache_lookups_total", "result"),
    ("requests by affinity", GATEWAY, "fovea_affinity_total", "outcome"),
    ("requests by names of pictures", GATEWAY, "fovea_hash_first_total", "outcome"),
    ("refusals", GATEWAY, "fovea_rejections_total", "code"),
    ("embeddings that made room", ENGINES, "fovea_encoder_cache_evictions_total", "tier"),
)
# Name of the tally, metric of the look-ups, metric of the hits.
BY_HITS = (
    ("prefix cache, tokens", "vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"),
    ("processor cache, pictures", "vllm:mm_cache_queries_total", "vllm:mm_cache_hits_total"),
)


def increases(samples: Iterable[MetricSample], from_s: float) -> dict[str, dict[str, float]]:
    """By source and series: how much each counter grew after `from_s`.

    A counter that falls was started anew: what it then has is growth. One that is not there at first starts at 0.
    """
    pages: dict[str, list[MetricSample]] = defaultdict(list)
    for sample in samples:
        pages[sample.source].append(sample)
    return {source: _grown(sorted(page, key=lambda one: one.at_s), from_s) for source, page in pages.items()}


def _grown(page: Sequence[MetricSample], from_s: float) -> dict[str, float]:
    before = [sample for sample in page if sample.at_s <= from_s]
    first = before[-1] if before else page[0]
    last = {series: max(0.0, told) for series, told in first.values.items()}
    grown = dict.fromkeys(first.values, 0.0)
    for sample in page[max(0, len(before) - 1) + 1 :]:
        for series, told in sample.values.items():
            held, value = last.get(series, 0.0), max(0.0, told)  # a counter below 0 is nonsense
            grown[series] = grown.get(series, 0.0) + (value - held if value >= held else value)
            last[series] = value
    return {series: amount for series, amount in grown.items() if split_series(series)[0] in COUNTERS}


def tallies_of(samples: Iterable[MetricSample], from_s: float) -> tuple[Tally, ...]:
    """Those that anything was counted of."""
    grown = increases(samples, from_s)
    found = [Tally(name, source, _by(grown, metric, label)) for name, source, metric, label in BY_OUTCOME]
    for name, queries, hits in BY_HITS:
        asked, hit = _total(grown, queries), _total(grown, hits)
        found.append(Tally(name, ENGINES, {"hit": hit, "miss": max(0.0, asked - hit)}))
    for name, metric in (("preemptions", "vllm:num_preemptions_total"), ("retries", "fovea_engine_retries_total")):
        found.append(Tally(name, ENGINES if metric.startswith("vllm:") else GATEWAY, {name: _total(grown, metric)}))
    return tuple(tally for tally in found if any(tally.counts.values()) or _is_told(grown, tally))


def _is_told(grown: dict[str, dict[str, float]], tally: Tally) -> bool:
    """That there were no preemptions is known only where engines say so."""
    told = {split_series(series)[0] for page in grown.values() for series in page}
    return tally.name == "preemptions" and "vllm:num_preemptions_total" in told


def _by(grown: dict[str, dict[str, float]], metric: str, label: str) -> dict[str, float]:
    counts: dict[str, float] = defaultdict(float)
    for page in grown.values():
        for series, amount in page.items():
            name, labels = split_series(series)
            if name == metric and amount:
                counts[labels.get(label, "")] += amount
    return dict(sorted(counts.items(), key=lambda one: -one[1]))


def _total(grown: dict[str, dict[str, float]], metric: str) -> float:
    return sum(amount for page in grown.values() for series, amount in page.items()
               if split_series(series)[0] == metric)  # fmt: skip
