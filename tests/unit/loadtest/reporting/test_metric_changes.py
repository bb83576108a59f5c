from dataclasses import replace

from loadtest.records import MetricSample
from loadtest.reporting.metric_changes import ENGINES, GATEWAY, increases, tallies_of
from loadtest.reporting.timelines import MOST_POINTS, thin, timelines_of
from tests.unit.loadtest.reporting.runs import make_run, samples

MISS = 'fovea_images_by_cache_total{outcome="miss"}'
HIT = 'fovea_images_by_cache_total{outcome="hit-host"}'


def page(at_s: float, source: str = "a", **values: float) -> MetricSample:
    return MetricSample(at_s, source, {{"miss": MISS, "hit": HIT}[name]: value for name, value in values.items()})


def test_counters_count_from_the_last_look_before_the_counted_time() -> None:
    assert increases([page(0, miss=5), page(9, miss=7), page(11, miss=10)], from_s=10) == {"a": {MISS: 3}}


def test_a_counter_that_was_started_anew_loses_nothing_of_what_it_told() -> None:
    assert increases([page(0, miss=5), page(1, miss=8), page(2, miss=2)], from_s=0) == {"a": {MISS: 5}}


def test_a_counter_that_comes_later_began_at_nothing() -> None:
    assert increases([page(0, miss=5), page(1, miss=5, hit=4)], from_s=0) == {"a": {MISS: 0, HIT: 4}}


def test_a_page_first_read_during_the_run_counts_from_then() -> None:
    assert increases([page(20, miss=100), page(30, miss=103)], from_s=10) == {"a": {MISS: 3}}


def test_gauges_are_not_counted() -> None:
    sample = MetricSample(0, "a", {"fovea_requests_in_flight": 3})
    assert increases([sample], from_s=0) == {"a": {}}


def test_tallies_add_up_all_pages() -> None:
    found = tallies_of([page(0, "a", miss=1), page(0, "b", miss=1), page(9, "a", miss=3), page(9, "b", miss=5)], 0)
    assert [(one.source, one.counts) for one in found] == [(GATEWAY, {"miss": 6})]


def test_hits_and_misses_come_from_look_ups_and_hits() -> None:
    names = ("vllm:mm_cache_queries_total", "vllm:mm_cache_hits_total")
    looks = [
        MetricSample(at, "e", dict(zip(names, counts, strict=True))) for at, counts in ((0, (0, 0)), (9, (8, 6)))
    ]
    found = tallies_of(looks, 0)
    assert [(one.name, one.source, one.counts) for one in found] == [
        ("processor cache, pictures", ENGINES, {"hit": 6, "miss": 2})
    ]


def test_gauges_become_lines_by_their_labels() -> None:
    kv = next(one for one in timelines_of(make_run()) if one.name == "KV cache in use")
    assert [line.label for line in kv.lines] == ["a", "b"]
    assert kv.lines[0].points[-1] == (110.0, 0.55)
    assert len(samples()) == len(kv.lines[0].points)


def test_lines_are_told_apart_by_page_where_several_pages_have_them() -> None:
    run = make_run(10)
    values = {'vllm:num_requests_running{engine="0"}': 1.0}
    looks = tuple(MetricSample(1.0, f"http://127.0.0.1:{port}/metrics", values) for port in (8001, 8002))
    running = next(
        one for one in timelines_of(replace(run, samples=looks)) if one.name == "requests running in engines"
    )
    assert [line.label for line in running.lines] == ["127.0.0.1:8001 0", "127.0.0.1:8002 0"]


def test_many_points_become_few_and_keep_the_peak() -> None:
    points = [(float(at), 9.0 if at == 777 else 1.0) for at in range(2500)]
    found = thin(points)
    assert len(found) <= MOST_POINTS
    assert (777.0, 9.0) in found
    assert thin([]) == ()


def test_what_is_under_way_goes_up_and_down_again() -> None:
    under_way = next(one for one in timelines_of(make_run()) if one.name == "requests under way")
    values = [value for _, value in under_way.lines[0].points]
    assert values[0] == 0
    assert max(values) >= 1
    assert min(values) == 0


def test_no_preemptions_are_known_only_where_an_engine_tells() -> None:
    name = 'vllm:num_preemptions_total{engine="0"}'
    told = tallies_of([MetricSample(at, "e", {name: 3.0}) for at in (0, 9)], 0)
    assert [(one.name, one.counts) for one in told] == [("preemptions", {"preemptions": 0.0})]
    assert tallies_of([MetricSample(0, "e", {}), MetricSample(9, "e", {})], 0) == ()


def test_a_counter_below_zero_counts_nothing() -> None:
    name = "vllm:num_preemptions_total"
    looks = [MetricSample(at, "e", {name: count}) for at, count in ((0, 0.0), (5, -1e308), (9, -5.0))]
    assert increases(looks, 0)["e"][name] == 0
