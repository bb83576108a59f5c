"""Metrics of several workers as one scrape shows them."""

import json

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from server.metrics import ACROSS_WORKERS, Metrics
from server.workers.sums import Across, Samples, exposition_of, merge, only_counts, samples_of

GAUGES: dict[str, Across] = {"open": "sum", "ready": "min", "keys": "max"}


def worker(requests: dict[str, int], took_s: list[float], still_open: int = 0, ready: int = 1) -> Samples:
    registry = CollectorRegistry()
    counter = Counter("requests", "Requests", ["code"], registry=registry)
    for code, number in requests.items():
        counter.labels(code).inc(number)
    histogram = Histogram("took_seconds", "Time", buckets=(1, 2), registry=registry)
    for each in took_s:
        histogram.observe(each)
    Gauge("open", "Open", registry=registry).set(still_open)
    Gauge("ready", "Ready", registry=registry).set(ready)
    samples: Samples = json.loads(json.dumps(samples_of(registry)))  # as it travels
    return samples


def values(samples: Samples, family: str) -> dict[str, float]:
    return {
        name + "".join(text for _, text in labels): value
        for name, labels, value in samples[family]
        if not name.endswith("_created")
    }


def test_what_counts_is_added_up_label_by_label() -> None:
    merged = merge([worker({"200": 3, "429": 1}, []), worker({"200": 4, "503": 2}, [])], GAUGES)
    assert values(merged, "requests") == {"requests_total200": 7, "requests_total429": 1, "requests_total503": 2}


def test_histograms_stay_whole_and_in_order() -> None:
    merged = merge([worker({}, [0.5, 1.5]), worker({}, [0.5, 9])], GAUGES)
    assert list(values(merged, "took_seconds").items()) == [
        ("took_seconds_bucket1.0", 2),
        ("took_seconds_bucket2.0", 3),
        ("took_seconds_bucket+Inf", 4),
        ("took_seconds_count", 4),
        ("took_seconds_sum", 11.5),
    ]


def test_gauges_become_one_in_their_own_way() -> None:
    merged = merge([worker({}, [], 3, ready=1), worker({}, [], 4, ready=0)], GAUGES)
    assert (values(merged, "open"), values(merged, "ready")) == ({"open": 7}, {"ready": 0})


def test_of_a_worker_that_is_gone_counts_stay_and_nothing_else() -> None:
    gone = only_counts(worker({"200": 5}, [0.5], 3, ready=0), GAUGES)
    merged = merge([gone, worker({"200": 1}, [], 1)], GAUGES)
    assert values(merged, "requests") == {"requests_total200": 6}
    assert (values(merged, "open"), values(merged, "ready")) == ({"open": 1}, {"ready": 1})
    assert values(merged, "took_seconds")["took_seconds_count"] == 1


async def test_one_workers_sum_is_what_it_says_alone() -> None:
    metrics = Metrics()
    metrics.requests.add(("chat", "demo", "200", "", "-"), 3)
    metrics.first_token.labels("chat", 'a "model"\n').observe(0.2)
    metrics.keys.set(2)
    merged = merge([samples_of(metrics.registry)], ACROSS_WORKERS)
    assert exposition_of(metrics.registry, merged) == await metrics.exposition()


def test_every_gauge_says_how_several_workers_are_one() -> None:
    gauges = {family.name for family in Metrics().registry.collect() if family.type == "gauge"}
    assert gauges == ACROSS_WORKERS.keys()
