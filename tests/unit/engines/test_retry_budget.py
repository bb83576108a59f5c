from server.engines.retry_budget import RetryBudget
from tests.unit.engines.clock import Clock


def taken(budget: RetryBudget, tries: int = 1000) -> int:
    return sum(budget.take() for _ in range(tries))


def test_a_floor_is_allowed_whatever_is_asked() -> None:
    assert taken(RetryBudget(0.1, 3, clock=Clock())) == 3
    assert taken(RetryBudget(0.1, 0, clock=Clock())) == 0


def test_above_it_second_tries_are_a_part_of_all_requests() -> None:
    budget = RetryBudget(0.1, 3, clock=Clock())
    for _ in range(200):
        budget.saw_request()
    assert taken(budget) == 23


def test_what_was_taken_and_asked_is_forgotten_after_the_window() -> None:
    clock = Clock()
    budget = RetryBudget(0.5, 2, window_s=10, clock=clock)
    for _ in range(10):
        budget.saw_request()
    assert taken(budget) == 7
    clock.now += 9
    assert taken(budget) == 0
    clock.now += 1.1
    assert taken(budget) == 2
    clock.now += 1000
    assert taken(budget) == 2


def test_a_steady_outage_is_never_multiplied() -> None:
    """Every request fails: over any time, second tries are a tenth of them and the floor of each window."""
    clock = Clock()
    budget = RetryBudget(0.1, 10, window_s=10, clock=clock)
    tries = 0
    for _ in range(10_000):
        clock.now += 0.01
        budget.saw_request()
        tries += budget.take()
    assert 1000 * 0.9 <= tries <= 1000 + 10 * 11
