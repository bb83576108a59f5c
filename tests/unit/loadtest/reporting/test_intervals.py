import numpy as np
import pytest
from scipy.stats import binomtest

from loadtest.reporting.intervals import (
    block_length,
    estimate_mean,
    estimate_percentiles,
    estimate_share,
    in_long_rows,
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


def test_the_interval_of_a_mean_of_independent_values_is_about_that_of_students_t() -> None:
    halves = []
    for seed in range(20):
        values = np.random.default_rng(seed).normal(100, 10, 500)
        found = estimate_mean(list(values))
        assert found.low < found.value < found.high
        halves.append((found.high - found.low) / 2)
    assert np.mean(halves) == pytest.approx(2.26 * 10 / np.sqrt(500), rel=0.1)


def in_rows(rng: np.random.Generator, count: int, alike: float) -> list[float]:
    """Each delay is `alike` its neighbour."""
    noise, found = rng.normal(0, 1, count), [0.0]
    for one in noise:
        found.append(alike * found[-1] + float(np.sqrt(1 - alike * alike)) * float(one))
    return [100 + one for one in found[1:]]


def test_intervals_of_delays_that_come_in_rows_hold_the_true_figures_about_as_often_as_they_say() -> None:
    """With twenty blocks and neither Student's t nor order statistics it was 52 and 54."""
    rng, of_mean, of_p95 = np.random.default_rng(5), 0, 0
    for _ in range(60):
        values = in_rows(rng, 300, 0.8)
        mean, p95 = estimate_mean(values), estimate_percentiles(values, [0.95])[0]
        of_mean += mean.low <= 100 <= mean.high
        of_p95 += p95.low <= 101.645 <= p95.high
    assert of_mean >= 55  # of 57 expected
    assert of_p95 >= 55


def test_the_interval_of_a_tail_is_never_narrower_than_order_statistics() -> None:
    values = [float(value) for value in range(1000)]
    found = estimate_percentiles(values, [0.99])[0]
    assert found.low <= 983
    assert found.high >= 996


def test_rows_longer_than_a_block_are_told_and_short_ones_are_not() -> None:
    told = [in_long_rows(in_rows(np.random.default_rng(seed), 200, 0.99)) for seed in range(20)]
    quiet = [in_long_rows(in_rows(np.random.default_rng(seed), 200, 0.0)) for seed in range(20)]
    assert sum(told) >= 8
    assert sum(quiet) <= 1
    assert not in_long_rows([1.0] * 100)
    assert not in_long_rows([1.0, 2.0])


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
    as_made, in_any_order = estimate_mean(list(rows)), estimate_mean(list(mixed))
    assert as_made.high - as_made.low > 2 * (in_any_order.high - in_any_order.low)


def test_blocks_are_of_neighbours_and_as_many_as_there_were() -> None:
    places = resample_in_blocks(1000, np.random.default_rng(0))
    assert (len(places), block_length(1000)) == (1000, 100)
    steps = (places[1:] - places[:-1]) % 1000
    assert (steps == 1).sum() >= 970


def test_a_share_of_all_is_not_taken_for_certain() -> None:
    found = estimate_share([True] * 20)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.8389, abs=1e-4)


def test_the_share_of_nothing_is_unknown() -> None:
    found = estimate_share([])
    assert (found.low, found.high) == (0.0, 1.0)
