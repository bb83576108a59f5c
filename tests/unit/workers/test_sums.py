"""Metrics of several workers as one scrape shows them."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from server.metering.declaring import Across
from server.metering.label_classes import OTHERS, LabelClasses
from server.metering.labels import MOST_TENANTS, make_classes
from server.metrics import Metrics
from server.workers.sums import Families, Relabelling, merge, only_counts, read_families, write_families

GAUGES: dict[str, Across] = {"open": "sum", "ready": "min", "keys": "max"}


def relabelling() -> Relabelling:
    return Relabelling(make_classes())


def worker(requests: dict[str, int], took_s: list[float], still_open: int = 0, ready: int = 1) -> Families:
    registry = CollectorRegistry()
    counter = Counter("requests", "Requests", ["code"], registry=registry)
    for code, number in requests.items():
        counter.labels(code).inc(number)
    histogram = Histogram("took_seconds", "Time", buckets=(1, 2), registry=registry)
    for each in took_s:
        histogram.observe(each)
    Gauge("open", "Open", registry=registry).set(still_open)
    Gauge("ready", "Ready", registry=registry).set(ready)
    return read_families(generate_latest(registry).decode())  # as it travels


def values(families: Families, name: str) -> dict[str, float]:
    return families[name].series


def tenants(families: Families) -> dict[str, float]:
    """Requests by tenant."""
    counted = families["fovea_requests_total"].series
    return {series.rpartition('tenant="')[2].removesuffix('"}'): value for series, value in counted.items()}


def test_what_counts_is_added_up_label_by_label() -> None:
    merged = merge([worker({"200": 3, "429": 1}, []), worker({"200": 4, "503": 2}, [])], GAUGES, relabelling())
    assert values(merged, "requests_total") == {
        'requests_total{code="200"}': 7,
        'requests_total{code="429"}': 1,
        'requests_total{code="503"}': 2,
    }


def test_histograms_stay_whole_and_in_order() -> None:
    merged = merge([worker({}, [0.5, 1.5]), worker({}, [0.5, 9])], GAUGES, relabelling())
    assert list(values(merged, "took_seconds").items()) == [
        ('took_seconds_bucket{le="1.0"}', 2),
        ('took_seconds_bucket{le="2.0"}', 3),
        ('took_seconds_bucket{le="+Inf"}', 4),
        ("took_seconds_count", 4),
        ("took_seconds_sum", 11.5),
    ]


def test_gauges_become_one_in_their_own_way() -> None:
    merged = merge([worker({}, [], 3, ready=1), worker({}, [], 4, ready=0)], GAUGES, relabelling())
    assert (values(merged, "open"), values(merged, "ready")) == ({"open": 7}, {"ready": 0})


def test_of_a_worker_that_is_gone_counts_stay_and_nothing_else() -> None:
    gone = only_counts(worker({"200": 5}, [0.5], 3, ready=0), GAUGES)
    merged = merge([gone, worker({"200": 1}, [], 1)], GAUGES, relabelling())
    assert values(merged, "requests_total") == {'requests_total{code="200"}': 6}
    assert (values(merged, "open"), values(merged, "ready")) == ({"open": 1}, {"ready": 1})
    assert values(merged, "took_seconds")["took_seconds_count"] == 1


async def test_one_workers_sum_is_what_it_says_alone_and_the_library_would() -> None:
    metrics = Metrics()
    metrics.requests.add(("chat", "demo", "200", "", "-"), 3)
    metrics.first_token.labels("chat", 'a "model"\\\n, "b"').observe(0.2)
    metrics.engine_kv_usage.show(("engine-0",), lambda: 0.25)
    metrics.keys.set(2)
    metrics.limit_store_seconds.observe(0.001)
    text = metrics.text()
    merged = merge([read_families(text)], metrics.across_workers, relabelling())
    assert write_families(merged) == text
    assert text.encode() == await metrics.exposition() == generate_latest(metrics.registry)


def test_of_all_workers_there_ever_were_no_more_tenants_are_told_of_than_of_one() -> None:
    """Each knew other tenants first. What a scrape has shown of any label is never taken back."""
    labels, gone, before = relabelling(), Families(), dict[str, float]()
    for generation in range(20):
        metrics = Metrics()
        for number in range(1000):
            tenant = metrics.tenants.of(f"tenant-{generation * 97 + number}")
            metrics.requests.add(("chat", "demo", "200", "", tenant))
        gone = merge([gone, read_families(metrics.text())], metrics.across_workers, labels)
        now = tenants(gone)
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
    for each, tenant in ((one, "ann"), (two, "bob"), (one, "bob"), (two, "ann")):
        each.requests.add(("chat", "demo", "200", "", each.tenants.of(tenant)))
    told = [read_families(each.text()) for each in (one, two)]
    found = tenants(merge(told, one.across_workers, relabelling()))
    assert sum(found.values()) == 4
    assert {"ann", "bob"} <= found.keys()


def test_only_the_labels_that_are_named_are_changed_and_only_whole_ones() -> None:
    labels = Relabelling({"model": LabelClasses(1, {"a": "b"})})
    for _ in range(2):
        assert labels.of('n{model="a",other_model="a",zone="model=\\"a\\","}') == (
            'n{model="b",other_model="a",zone="model=\\"a\\","}'
        )
        assert labels.of('n{le="1.0",model="\\"x,model=\\"a"}') == 'n{le="1.0",model="\\"x,model=\\"a"}'
        assert labels.of('n{zone="x,model=",a="1",model="a"}') == 'n{zone="x,model=",a="1",model="b"}'
        assert labels.of("n") == "n"


def test_what_others_take_for_the_end_of_a_line_is_none() -> None:
    metrics = Metrics()
    metrics.first_token.labels("chat", "a\x0b\x0c\x1c\x85\u2028b").observe(0.2)
    read = read_families(metrics.text())
    assert write_families(read) == metrics.text()


def test_every_gauge_says_how_several_workers_are_one() -> None:
    metrics = Metrics()
    gauges = {family.name for family in metrics.registry.collect() if family.type == "gauge"}
    assert gauges == metrics.across_workers.keys()
