from statistics import median_low

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.admission.calibration import (
    FIRST_GUESS,
    KEPT,
    LEAST,
    MOST,
    MOST_MODELS,
    MOST_TENANTS,
    Calibration,
)


def taught(calibration: Calibration, tenant: str, each: float, times: int = KEPT) -> None:
    for _ in range(times):
        calibration.observe("demo", tenant, 1200, round(1200 / each))


def test_before_anything_was_counted_it_is_a_guess() -> None:
    calibration = Calibration()
    assert calibration.tokens("demo", 400) == 100
    assert (calibration.bytes_per_token("demo"), calibration.heard("demo")) == (FIRST_GUESS, 0)
    assert calibration.tokens("demo", 0) == 0


def test_what_engines_count_corrects_it_for_that_model() -> None:
    calibration = Calibration()
    taught(calibration, "ann", 2.0, times=3)
    assert calibration.tokens("demo", 1000) == 500
    assert calibration.heard("demo") == 3
    assert calibration.bytes_per_token("another") == FIRST_GUESS


def test_a_tenant_has_one_voice_however_much_it_sends() -> None:
    calibration = Calibration()
    for tenant in ("ann", "bob", "eve"):
        taught(calibration, tenant, 3.0)
    taught(calibration, "mallory", 1.0, times=10 * KEPT)
    assert calibration.bytes_per_token("demo") == pytest.approx(3.0)


def test_strange_answers_of_a_tenant_do_not_move_its_own_voice() -> None:
    calibration = Calibration()
    for _ in range(4):
        taught(calibration, "ann", 3.0, times=5)
        taught(calibration, "ann", 1.0, times=2)
    assert calibration.bytes_per_token("demo") == pytest.approx(3.0)


def test_an_answer_costs_about_one_median_however_many_tenants_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    calibration = Calibration()
    tenants = [f"tenant-{number}" for number in range(MOST_TENANTS)]
    for tenant in tenants:
        taught(calibration, tenant, 3.0, times=4)
    made: list[int] = []

    def median_of(values: list[float]) -> float:
        made.append(len(values))
        return median_low(values)

    monkeypatch.setattr("server.admission.calibration.median_low", median_of)
    for tenant in 4 * tenants:
        taught(calibration, tenant, 2.0, times=1)
    assert MOST_TENANTS < len(made) < 1.5 * 4 * MOST_TENANTS


def test_many_tenants_are_heard_although_not_at_every_answer() -> None:
    calibration = Calibration()
    for tenant in 7 * [f"tenant-{number}" for number in range(MOST_TENANTS)]:
        taught(calibration, tenant, 2.0, times=1)
    assert calibration.bytes_per_token("demo") == pytest.approx(2.0)


def test_short_texts_say_nothing() -> None:
    calibration = Calibration()
    for _ in range(10):
        calibration.observe("demo", "ann", 47, 12)
        calibration.observe("demo", "ann", 500, 0)
    assert calibration.heard("demo") == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 10**9), st.integers(-10, 10**9)), max_size=60))
def test_whatever_is_told_it_stays_within_bounds(told: list[tuple[str, int, int]]) -> None:
    calibration = Calibration()
    for tenant, text_bytes, tokens in told:
        calibration.observe("demo", tenant, text_bytes, tokens)
    assert LEAST <= calibration.bytes_per_token("demo") <= MOST


def test_it_remembers_a_bounded_number_of_models_and_tenants() -> None:
    calibration = Calibration()
    for number in range(MOST_TENANTS + 5):
        calibration.observe("demo", f"tenant-{number}", 1000, 300)
    assert len(calibration._models["demo"].tenants) == MOST_TENANTS
    for number in range(MOST_MODELS + 5):
        calibration.observe(f"model-{number}", "ann", 1000, 300)
    assert len(calibration._models) == MOST_MODELS
