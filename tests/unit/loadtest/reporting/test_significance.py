import numpy as np
import pytest
from scipy.stats import permutation_test

from loadtest.reporting.intervals import Values
from loadtest.reporting.significance import Sides, change_of, holm


def mean(values: Values) -> float:
    return float(values.mean())


def one_a_run(values: list[float]) -> tuple[Values, ...]:
    """Each value a run of its own: blocks of one, as in the textbook's test."""
    return tuple(np.array([value]) for value in values)


A = [12.1, 11.4, 13.0, 12.7, 11.9, 12.3, 13.4, 11.1, 12.2, 12.6]
B = [12.9, 11.9, 13.1, 13.9, 12.8, 12.2, 14.0, 12.0, 12.1, 13.3]


def test_the_paired_test_is_the_exact_one_but_for_drawing() -> None:
    exact = permutation_test((A, B), lambda a, b, axis: np.mean(b - a, axis=axis), permutation_type="samples",
                             vectorized=True)  # fmt: skip
    found = change_of(Sides(one_a_run(A), one_a_run(B), True), mean, as_ratio=False)
    assert found is not None
    assert found.change == pytest.approx(np.mean(B) - np.mean(A))
    assert found.p_value == pytest.approx(exact.pvalue, abs=0.01)


def test_the_unpaired_test_is_the_exact_one_but_for_drawing() -> None:
    exact = permutation_test((A, B), lambda a, b, axis: np.mean(b, axis=axis) - np.mean(a, axis=axis),
                             permutation_type="independent", vectorized=True, n_resamples=20_000)  # fmt: skip
    found = change_of(Sides(one_a_run(A), one_a_run(B), False), mean, as_ratio=False)
    assert found is not None
    assert found.p_value == pytest.approx(exact.pvalue, abs=0.03)


def test_pairs_show_what_is_lost_among_unlike_requests() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.lognormal(0, 1, 200)
    a, b = sizes, sizes * 1.03 * rng.lognormal(0, 0.02, 200)
    paired = change_of(Sides((a,), (b,), True), mean, as_ratio=True)
    unpaired = change_of(Sides((a,), (b,), False), mean, as_ratio=True)
    assert paired is not None
    assert paired.p_value is not None
    assert paired.p_value < 0.01
    assert 0.02 < paired.low < paired.change < paired.high < 0.04
    assert unpaired is not None
    assert unpaired.p_value is not None
    assert unpaired.p_value > 0.2


@pytest.mark.parametrize("paired", [True, False])
def test_delays_that_come_in_rows_do_not_pass_for_a_difference(paired: bool) -> None:
    """Both sides are alike, each with queues of about ten requests. Single requests as blocks fail this."""
    alarms = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        a, b = (np.convolve(rng.normal(10, 1, 309), np.ones(10) / 10, "valid") for _ in range(2))
        found = change_of(Sides((a,), (b,), paired), mean, as_ratio=True)
        assert found is not None
        alarms += found.p_value is not None and found.p_value < 0.01
    assert alarms <= 2  # of 30; single requests as blocks: 8


def test_the_same_on_both_sides_is_no_difference() -> None:
    values = np.ones(100)
    found = change_of(Sides((values,), (values,), True), mean, as_ratio=True)
    assert found is not None
    assert (found.change, found.p_value) == (0.0, 1.0)


def test_few_requests_cannot_tell() -> None:
    found = change_of(Sides((np.ones(5),), (np.zeros(5) + 9,), True), mean, as_ratio=False)
    assert found is not None
    assert found.p_value is None


def test_a_side_without_values_is_not_compared() -> None:
    assert change_of(Sides((np.ones(5),), (np.array([]),), False), mean, as_ratio=False) is None


def test_p_values_of_many_figures_are_adjusted_as_holm_did() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
