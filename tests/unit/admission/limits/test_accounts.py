import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.admission.limits.accounts import MINUTE_US, Account, Accounts, share_of
from server.allowance import Budgets, Subject


def subject(name: str, **budgets: int) -> Subject:
    return Subject("tenant", name, Budgets(**budgets))


def account(gateways: int = 1, **budgets: int) -> Account:
    made = Account(0)
    made.configure(Budgets(**budgets), gateways)
    return made


def taken(of: Account, costs: tuple[int, int, int, int], now: int) -> bool:
    fits = of.fits(costs, now)
    if fits:
        of.take(costs)
    return fits


def test_a_whole_minute_may_be_drawn_at_once_and_comes_back_evenly() -> None:
    drawing = account(requests=3)
    assert [taken(drawing, (1, 0, 0, 0), 0) for _ in range(4)] == [True, True, True, False]
    third = MINUTE_US // 3
    assert [taken(drawing, (1, 0, 0, 0), at) for at in (third - 1, third, third)] == [False, True, False]
    assert [taken(drawing, (1, 0, 0, 0), 10 * MINUTE_US) for _ in range(4)] == [True, True, True, False]


def test_what_is_not_limited_is_not_counted() -> None:
    drawing = account(tokens=10)
    assert taken(drawing, (1, 5, 10**9, 10), 0)
    assert drawing.levels == [0, 0, 0, 10]


def test_what_has_been_used_counts_even_above_the_limit() -> None:
    drawing = account(tokens=60)
    assert taken(drawing, (1, 0, 0, 10), 0)
    drawing.settle((0, 0, 0, 80), 0)
    assert drawing.levels[3] == 90
    assert not taken(drawing, (1, 0, 0, 1), 30_000_000)
    assert taken(drawing, (1, 0, 0, 1), 31_000_000)


def test_giving_back_never_makes_more_than_there_was() -> None:
    drawing = account(tokens=60)
    assert taken(drawing, (1, 0, 0, 50), 0)
    drawing.settle((0, 0, 0, -50), MINUTE_US)
    assert drawing.levels[3] == 0
    assert not drawing.fits((1, 0, 0, 61), MINUTE_US)


def test_a_new_limit_keeps_what_has_been_drawn_and_a_lifted_one_forgets_it() -> None:
    drawing = account(requests=10, tokens=10)
    assert taken(drawing, (8, 0, 0, 8), 0)
    drawing.configure(Budgets(requests=5), 1)
    assert not drawing.fits((1, 0, 0, 10**6), 0)
    assert drawing.levels == [8, 0, 0, 0]


@pytest.mark.parametrize(("limit", "gateways", "share"), [(10, 1, 10), (10, 3, 3), (2, 3, 1), (0, 3, 0)])
def test_each_gateways_share_is_at_least_one_where_there_is_any(limit: int, gateways: int, share: int) -> None:
    assert share_of(limit, gateways) == share


def test_a_cost_larger_than_the_share_is_lent_where_nothing_of_it_is_drawn() -> None:
    drawing = account(gateways=4, tokens=100)
    assert not drawing.fits((1, 0, 0, 60), 0)
    assert drawing.lends((1, 0, 0, 60))
    drawing.take((1, 0, 0, 60))
    assert not drawing.fits((1, 0, 0, 1), 0)
    assert not drawing.lends((1, 0, 0, 1))


def test_what_is_drawn_elsewhere_takes_no_more_than_the_own_share() -> None:
    drawing = account(gateways=2, tokens=100)
    for _ in range(9):
        drawing.mirror((1, 0, 0, 90), 0)
    assert (drawing.levels[3], drawing.running) == (50, 9)


def test_idle_accounts_are_forgotten_and_others_are_not() -> None:
    accounts = Accounts()
    for number in range(100):
        accounts.of(subject(f"t{number}", requests=1), 0).take((1, 0, 0, 0))
    for number in range(100):
        accounts.of(subject(f"t{number}", requests=1), 0).running = 0
    assert len(accounts) == 100
    for number in range(50):
        accounts.of(subject(f"u{number}", requests=1), MINUTE_US + number)
    assert len(accounts) < 10


def test_an_account_that_is_being_drawn_from_is_not_forgotten_for_the_next_one() -> None:
    accounts = Accounts(most=1)
    first = accounts.of(subject("key", requests=1), 5)
    accounts.of(subject("tenant", requests=1), 5)
    assert accounts.of(subject("key", requests=1), 5) is first


def test_memory_is_bounded_even_if_nothing_is_idle_but_running_requests_are_kept() -> None:
    accounts = Accounts(most=10)
    running = accounts.of(subject("running", places=1), 0)
    running.take((1, 0, 0, 0))
    for number in range(100):
        accounts.of(subject(f"t{number}", requests=1), number).levels[0] = 1
    assert len(accounts) == 10
    assert accounts.of(subject("running", places=1), 0) is running


@given(
    st.lists(st.tuples(st.integers(0, 20_000_000), st.integers(0, 1), st.integers(0, 30)), max_size=60),
    st.integers(1, 20),
    st.integers(1, 40),
)
def test_whoever_calls_a_minute_never_gives_more_than_twice_the_limit(
    calls: list[tuple[int, int, int]], requests: int, tokens: int
) -> None:
    """What is full at its beginning, and what comes back during it."""
    drawing, now, drawn = account(requests=requests, tokens=tokens), 0, [(0, 0, 0)]
    for later, count, cost in calls:
        now += later
        if taken(drawing, (count, 0, 0, cost), now):
            drawn.append((now, count, cost))
        assert drawing.levels[0] <= requests
        assert drawing.levels[3] <= tokens
    for begin, _, _ in drawn:
        inside = [each for each in drawn if begin <= each[0] < begin + MINUTE_US]
        assert sum(count for _, count, _ in inside) <= 2 * requests
        assert sum(cost for _, _, cost in inside) <= 2 * tokens
