"""Rates and quantiles between two readings, as Prometheus would have them."""

import pytest

from server.top.reading import MOST_BYTES, Change, Reading, UnreadableMetrics, parse_reading, quantile

FIRST = b"""# TYPE asked counter
asked_total{model="a",code=""} 10
asked_total{model="a",code="x"} 1
# TYPE took histogram
took_bucket{le="0.1"} 4
took_bucket{le="1.0"} 4
took_bucket{le="+Inf"} 4
"""
SECOND = b"""# TYPE asked counter
asked_total{model="a",code=""} 30
asked_total{model="a",code="x"} 1
asked_total{model="b",code=""} 5
# TYPE took histogram
took_bucket{le="0.1"} 9
took_bucket{le="1.0"} 14
took_bucket{le="+Inf"} 14
"""


@pytest.fixture
def change() -> Change:
    return Change(parse_reading(FIRST, 100), parse_reading(SECOND, 105))


def test_rates_are_of_all_series_that_match(change: Change) -> None:
    assert change.rate("asked_total") == 5  # what was not there before counts from zero
    assert change.rate("asked_total", model="a") == 4
    assert change.rate("asked_total", code="x") == 0
    assert change.rate("asked_total", model="none") is None
    assert change.rate("nothing") is None


def test_what_changed_is_told_by_a_label(change: Change) -> None:
    assert change.by("asked_total", "model") == {"a": 20, "b": 5}


def test_a_process_that_began_anew_counts_from_zero() -> None:
    change = Change(parse_reading(SECOND, 0), parse_reading(FIRST, 10))
    assert change.rate("asked_total", model="a", code="") == 1


def test_no_time_has_no_rate() -> None:
    reading = parse_reading(FIRST, 1)
    assert Change(reading, reading).rate("asked_total") is None


def test_quantiles_are_of_what_was_observed_between(change: Change) -> None:
    """Ten: five up to 0.1, five up to 1."""
    assert change.quantile(0.5, "took") == pytest.approx(0.1)
    assert change.quantile(0.75, "took") == pytest.approx(0.55)
    assert change.quantile(0.5, "nothing") is None


@pytest.mark.parametrize(
    ("buckets", "half"),
    [
        ([], None),
        ([(1.0, 0.0), (float("inf"), 0.0)], None),
        ([(1.0, 0.0), (float("inf"), 4.0)], 1.0),  # beyond the last bound
        ([(1.0, 0.0), (2.0, 4.0), (float("inf"), 4.0)], 1.5),
    ],
)
def test_quantiles_at_the_edges(buckets: list[tuple[float, float]], half: float | None) -> None:
    assert quantile(0.5, buckets) == half


@pytest.mark.parametrize("text", [b"<html>no</html>", b"a{ 1", b"asked many", b"\xff\xfe", b"x" * (MOST_BYTES + 1)])
def test_what_is_no_metrics_is_said_to_be_none(text: bytes) -> None:
    with pytest.raises(UnreadableMetrics):
        parse_reading(text, 0)


def test_an_empty_reading_has_nothing() -> None:
    assert Reading().total("asked_total") is None
    assert list(Reading().rows("asked_total")) == []
