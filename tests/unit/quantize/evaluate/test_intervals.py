import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from quantize.evaluate.intervals import (
    Paired,
    bootstrap_difference,
    bootstrap_mean_difference,
    mcnemar,
    retention,
    score_statistic,
    wilson,
)


def test_wilson_is_the_published_interval() -> None:
    """Newcombe 1998, table I: 81 of 263 and 0 of 20."""
    assert wilson(81, 263) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))
    assert wilson(0, 20) == (0, pytest.approx(0.1611, abs=5e-5))


def test_mcnemar_is_the_exact_binomial_test() -> None:
    assert mcnemar(0, 0) == 1
    assert mcnemar(0, 5) == pytest.approx(2 / 32)
    assert mcnemar(10, 2) == mcnemar(2, 10) == pytest.approx(2 * sum(math.comb(12, k) for k in range(3)) / 2**12)


def test_the_bootstrap_interval_holds_the_difference_and_is_repeatable() -> None:
    paired = Paired(80, 12, 3, 5)
    low, high = bootstrap_difference(paired)
    assert low < -0.09 < high
    assert (low, high) == bootstrap_difference(paired)
    spread = math.sqrt((12 + 3) / 100 - 0.09**2) / 10
    assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.1)


def test_the_bootstrap_of_means_agrees_with_the_normal_approximation() -> None:
    values = list(np.random.default_rng(1).normal(0.3, 1, 400))
    low, high = bootstrap_mean_difference(values)
    assert (low, high) == (
        pytest.approx(np.mean(values) - 0.098, abs=0.02),
        pytest.approx(np.mean(values) + 0.098, abs=0.02),
    )


def test_perfect_agreement_shows_only_as_much_as_was_asked() -> None:
    """With n right on both sides the lower end is n / (n + z^2), as Wilson's would be."""
    for n in (20, 200, 2000):
        kept = retention(Paired(n, 0, 0, 7))
        assert kept is not None
        assert kept[:2] == (1, pytest.approx(n / (n + 1.959964**2), abs=1e-6))


def test_a_base_that_was_never_right_has_no_retention() -> None:
    assert retention(Paired(0, 0, 4, 6)) is None
    lost_all = retention(Paired(0, 4, 0, 6))
    assert lost_all is not None
    assert lost_all[:2] == (0, 0)
    assert 0 < lost_all[2] < 1


@pytest.mark.parametrize("paired", [Paired(180, 8, 3, 9), Paired(50, 10, 20, 20), Paired(30, 6, 1, 8)])
@pytest.mark.parametrize("theta", [0.8, 0.95, 1.0, 1.1])
def test_the_score_statistic_uses_the_likeliest_shares_under_theta(paired: Paired, theta: float) -> None:
    """The closed form against maximising the likelihood by search."""

    def shares(free: np.ndarray) -> np.ndarray:
        base, part = 1 / (1 + np.exp(-free))
        both = part * min(base, theta * base)
        return np.array([both, base - both, theta * base - both, 1 - base - theta * base + both])

    def unlikely(free: np.ndarray) -> float:
        cells = shares(free)
        if (cells < 0).any():
            return 1e9
        counts = [paired.both, paired.only_base, paired.only_candidate, paired.neither]
        return -float(np.dot(counts, np.log(np.maximum(cells, 1e-300))))

    options = {"xatol": 1e-10, "fatol": 1e-13, "maxiter": 20_000}
    starts = ([1, 1], [0, 2], [2, 0], [0, 0])
    best = min(
        (minimize(unlikely, start, method="Nelder-Mead", options=options) for start in starts), key=lambda r: r.fun
    )
    _, only_base, only_candidate, _ = shares(best.x)
    spread = math.sqrt(paired.asked * theta * (only_base + only_candidate))
    assert score_statistic(paired, theta) == pytest.approx(
        (paired.candidate - theta * paired.base) / spread, rel=1e-4
    )


cells = st.integers(0, 60)


@given(cells, cells, cells, cells)
def test_the_interval_always_holds_the_ratio(both: int, only_base: int, only_candidate: int, neither: int) -> None:
    paired = Paired(both, only_base, only_candidate, neither)
    if paired.base == 0:
        return
    kept = retention(paired)
    assert kept is not None
    ratio, low, high = kept
    assert 0 <= low <= ratio + 1e-6
    assert high >= ratio - 1e-6


def test_ninety_five_percent_of_intervals_hold_the_truth() -> None:
    """Simulated: true retention 0.95, 200 questions; the lower end may exceed it in about 2.5 % of runs."""
    rng = np.random.default_rng(0)
    base, kept, gained = 0.9, 0.93, 0.18
    truth = (base * kept + (1 - base) * gained) / base
    above = 0
    for _ in range(1500):
        both, only_base, only_candidate, neither = rng.multinomial(
            200, [base * kept, base * (1 - kept), (1 - base) * gained, (1 - base) * (1 - gained)]
        )
        found = retention(Paired(int(both), int(only_base), int(only_candidate), int(neither)))
        assert found is not None
        above += found[1] > truth
    assert 0.012 < above / 1500 < 0.04
