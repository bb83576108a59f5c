import numpy as np
import pytest
from scipy.stats import binomtest

from loadtest.reporting.intervals import (
    block_length,
    estimate_mean,
    estimate_percentiles,
    estimate_share,
    percentile,
    resample_in_blocks,
    wilson,
)


def test_percentiles_are_of_nearest_rank() -> None:
    values = [15.0, 20.0, 35.0, 40.0, 50.0]  # the textbook's
    assert [percentile(values, share) for share in (0.05, 0.3, 0.4, 0.5, 1.0)] == [15, 20, 20, 35, 50]


def test_no_values_have_no_percentile() -> None:
    for figure in (lambda: percentile([], 0.5), lambda: estimate_percentiles([], [0.5]), lambda: estimate_mean([])):
        with pytest.raises(ValueError, match="no values"):
            figure()


@pytest.mark.parametrize(("hits", "asked"), [(0, 10), (3, 10), (10, 10), (950, 1000)])
def test_wilsons_interval_is_scipys(hits: int, asked: int) -> None:
    known = binomtest(hits, asked).proportion_ci(0.95, method="wilson")
    assert wilson(hits, asked) == pytest.approx((known.low, known.high), abs=1e-12)


def test_the_interval_of_a_mean_of_independent_values_is_about_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(100, 10, 2000)
    found = estimate_mean(list(values))
    standard_error = 10 / np.sqrt(2000)
    assert found.low < found.value < found.high
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * standard_error, rel=0.15)


def test_the_interval_of_a_median_holds_the_true_one_about_as_often_as_it_says() -> None:
    rng, held = np.random.default_rng(2), 0
    for _ in range(60):
        found = estimate_percentiles(list(rng.exponential(1.0, 300)), [0.5])[0]
        held += found.low <= np.log(2) <= found.high
    assert held >= 51  # of 57 expected


def test_delays_that_come_in_rows_widen_the_interval() -> None:
    """The same values, once in any order and once in rows of forty, as a queue makes them."""
    rng = np.random.default_rng(3)
    rows = np.repeat(rng.normal(0, 1, 50), 40)
    mixed = rng.permutation(rows)
    in_rows, in_any_order = estimate_mean(list(rows)), estimate_mean(list(mixed))
    assert in_rows.high - in_rows.low > 2 * (in_any_order.high - in_any_order.low)


def test_blocks_are_of_neighbours_and_as_many_as_there_were() -> None:
    places = resample_in_blocks(1000, np.random.default_rng(0))
    assert (len(places), block_length(1000)) == (1000, 50)
    steps = (places[1:] - places[:-1]) % 1000
    assert (steps == 1).sum() >= 970


def test_a_share_of_all_is_not_taken_for_certain() -> None:
    found = estimate_share([True] * 20)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.8389, abs=1e-4)


def test_the_share_of_nothing_is_unknown() -> None:
    found = estimate_share([])
    assert (found.low, found.high) == (0.0, 1.0)
