import pytest

from server.admission.drain_rate import HALF_LIFE_S, DrainRate


def measured(rates: list[float], waiting: bool = True) -> DrainRate:
    """One rate a second."""
    rate, released = DrainRate(), 0.0
    for second, each in enumerate([0.0, *rates]):
        released += each
        rate.sample(second, int(released), waiting)
    return rate


def test_nothing_is_known_before_it_is_measured() -> None:
    assert DrainRate().per_second is None
    assert measured([]).per_second is None
    assert measured([0, 0]).per_second is None


def test_a_steady_rate_is_found_and_sure_after_a_while() -> None:
    assert measured([100, 100]).per_second == pytest.approx(100)
    assert not measured([100, 100]).sure
    assert measured([100] * int(HALF_LIFE_S)).sure


def test_what_is_older_counts_less() -> None:
    assert measured([1000] * 100 + [10] * 50).per_second == pytest.approx(10 + 1000 * 2**-5, rel=0.1)


def test_while_nobody_waits_nothing_is_measured() -> None:
    """It would be what is asked for, not what engines can do."""
    assert measured([100] * 50, waiting=False).per_second is None
