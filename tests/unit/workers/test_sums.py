"""Metrics of several workers as one scrape shows them."""

import json

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from server.metering.declaring import Across
from server.metering.label_classes import OTHERS
from server.metering.labels import MOST_TENANTS, make_classes
from server.metrics import Metrics
from server.workers.sums import Samples, exposition_of, merge, only_counts, samples_of

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
    merged = merge([samples_of(metrics.registry)], metrics.across_workers)
    assert exposition_of(metrics.registry, merged) == await metrics.exposition()


def test_of_all_workers_there_ever_were_no_more_tenants_are_told_of_than_of_one() -> None:
    """Each knew other tenants first. What a scrape has shown of any label is never taken back."""
    classes, gone, before = make_classes(), Samples(), dict[str, float]()
    for generation in range(20):
        metrics = Metrics()
        for number in range(1000):
            tenant = metrics.tenants.of(f"tenant-{generation * 97 + number}")
            metrics.requests.add(("chat", "demo", "200", "", tenant))
        gone = merge([gone, samples_of(metrics.registry)], metrics.across_workers, classes)
        now = {dict(labels)["tenant"]: value for _, labels, value in gone["fovea_requests"]}
        assert sum(now.values()) == (generation + 1) * 1000
        assert all(now[tenant] >= value for tenant, value in before.items())
        before = now
    assert len(before) == MOST_TENANTS + OTHERS


def test_who_is_in_a_class_in_one_worker_and_named_in_another_is_counted_once_in_all() -> None:
    one, two = Metrics(), Metrics()
    one.tenants.of("ann")
    for number in range(MOST_TENANTS - 1):
        one.tenants.of(f"tenant-{number}")
        two.tenants.of(f"tenant-{number}")
    for worker, tenant in ((one, "ann"), (two, "bob"), (one, "bob"), (two, "ann")):
        worker.requests.add(("chat", "demo", "200", "", worker.tenants.of(tenant)))
    told = [samples_of(each.registry) for each in (one, two)]
    merged = merge(told, one.across_workers, make_classes())
    found = {dict(labels)["tenant"]: value for _, labels, value in merged["fovea_requests"]}
    assert sum(found.values()) == 4
    assert {"ann", "bob"} <= found.keys()


def test_every_gauge_says_how_several_workers_are_one() -> None:
    metrics = Metrics()
    gauges = {family.name for family in metrics.registry.collect() if family.type == "gauge"}
    assert gauges == metrics.across_workers.keys()
