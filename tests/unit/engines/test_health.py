import pytest

from server.engines.health import FIRST_SHARE, Health, HealthRules
from tests.unit.engines.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    health = Health(HealthRules(), clock)
    health.prove()
    return health


def test_an_engine_is_in_only_once_it_has_proved_itself(clock: Clock) -> None:
    health = Health(HealthRules(), clock)
    assert (health.is_in, health.may_be_asked) == (False, True)
    health.prove()
    assert health.is_in


def test_some_failures_in_a_row_make_an_outlier_and_one_success_starts_anew(health: Health) -> None:
    assert [health.failed() for _ in range(4)] == [False] * 4
    health.succeeded()
    assert [health.failed() for _ in range(5)] == [False] * 4 + [True]


def test_a_rate_of_failures_makes_an_outlier_of_an_engine_that_is_asked_enough(health: Health) -> None:
    found = []
    for _ in range(12):
        found.append(health.failed())
        health.succeeded()
    # 20 requests are needed: the eleventh failure is the first one that is the 21st.
    assert found == [False] * 10 + [True] * 2


def test_failures_of_long_ago_are_forgotten(health: Health, clock: Clock) -> None:
    for _ in range(4):
        health.failed()
        health.succeeded()
    for _ in range(2):
        clock.now += 30
        health.turn_window()
    for _ in range(30):
        health.succeeded()
    assert not health.failed()


def test_the_first_time_out_costs_a_proof_alone_and_each_further_one_twice_the_last(
    health: Health, clock: Clock
) -> None:
    waits = []
    for _ in range(9):
        health.put_out(at_fault=True)
        began = clock.now
        while not health.may_be_asked:
            clock.now += 1
        waits.append(clock.now - began)
        health.prove()
    assert waits == [0, 5, 10, 20, 40, 80, 160, 300, 300]


def test_good_conduct_is_rewarded(health: Health, clock: Clock) -> None:
    for _ in range(3):
        health.put_out(at_fault=True)
        clock.now += 1000
        health.prove()
    clock.now += 300
    health.put_out(at_fault=True)
    assert health.may_be_asked


def test_an_engine_that_says_itself_that_it_is_not_there_is_not_punished(health: Health) -> None:
    for _ in range(5):
        health.put_out(at_fault=False)
        assert health.may_be_asked
        health.prove()


def test_the_load_of_an_engine_that_came_back_grows(health: Health, clock: Clock) -> None:
    shares = []
    for _ in range(5):
        shares.append(health.share)
        clock.now += 7.5
    assert shares == [FIRST_SHARE, 0.25, 0.5, 0.75, 1.0]
    clock.now += 1000
    assert health.share == 1.0
    assert Health(HealthRules(slow_start_s=0), clock).share == 1.0
