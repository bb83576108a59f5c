"""What the benchmark of metrics mutes is what the gateway counts with; its page says what was measured."""

import pytest

from loadtest.bench_metrics import SCRAPES
from loadtest.gateway.counted import PLACES, Counting, find
from loadtest.gateway.counting import Block, Counted, Result, Scrape, difference, make_page
from loadtest.gateway.scraped import fill, scrape_s, summed_s
from server.metrics import Metrics


@pytest.mark.parametrize("place", PLACES)
def test_every_instrument_is_one_of_the_gateways(place: str) -> None:
    holder, name = find(place)
    assert callable(getattr(holder, name))


def counted(metrics: Metrics) -> float | None:
    labels = {"route": "chat", "model": "demo", "status": "200", "code": "", "tenant": "-"}
    return metrics.registry.get_sample_value("fovea_requests_total", labels)


def work(metrics: Metrics) -> None:
    series = metrics.series_of("chat", "demo")
    series.ended_well(metrics.tenants.of(""), 0.1)
    metrics.image_bytes.observe(1)
    metrics.rejections.labels("overloaded").inc()


def test_what_is_muted_counts_nothing_and_is_put_back_as_it_was() -> None:
    metrics, counting = Metrics(), Counting()
    before = {place: getattr(*find(place)) for place in PLACES}
    try:
        counting.mute()
        work(metrics)
    finally:
        counting.count()
    assert counted(metrics) is None
    assert {place: getattr(*find(place)) for place in PLACES} == before
    work(metrics)
    assert counted(metrics) == 1


def test_what_is_called_to_count_is_noted_and_timed() -> None:
    metrics, counting = Metrics(), Counting()
    counting.note()
    work(metrics)
    told = counting.answer("tell")
    once = ("RequestSeries.ended_well", "LabelClasses.of", "Metrics.series_of", "Series.observe")
    assert {told["calls"][name] for name in once} == {1}
    assert told["calls_us"] > 0
    work(metrics)
    assert counting.tell()["calls"] == told["calls"]  # nothing is noted any more


def test_a_scrape_is_of_as_much_as_is_said() -> None:
    metrics = fill(3, 2, 5)
    assert metrics.registry.get_sample_value("fovea_engine_requests_waiting", {"engine": "engine-2"}) == 2
    assert scrape_s(metrics) > 0
    assert summed_s(metrics, 2) > 0


def result(*parts: float) -> Result:
    pairs = [(Block(True, 100 * (1 + part)), Block(False, 100)) for part in parts]
    calls = [Counted("a small request", {"LoopCounter.add": 3}, 1.5)]
    return Result("2026-11-22", "here", 150, 4, pairs, calls, [Scrape(*SCRAPES[0], 827, 58_000, [6, 7], [30, 31])])


def test_a_part_is_the_median_of_pairs_with_bounds_that_few_outliers_do_not_move() -> None:
    added, least, most = difference(result(*[0.01] * 60, *[0.012] * 30, *[5.0] * 10))
    assert (round(added, 3), round(least, 3), round(most, 3)) == (0.01, 0.01, 0.01)


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [([0.01] * 50, "met"), ([0.05] * 50, "missed"), ([-0.2, 0.2] * 25, "too close to say")],
)
def test_the_page_says_whether_what_was_asked_is_met(parts: list[float], verdict: str) -> None:
    page = make_page(result(*parts))
    row = next(line for line in page.splitlines() if "by turns" in line)
    assert row.endswith(f"| {verdict} |")
    assert "| a small request | 1.50 | 3 `LoopCounter.add` |" in page
    assert "| 50 | 1 | 1 | 827 | 57 | 6.5 | 4 | 30.5 |" in page
