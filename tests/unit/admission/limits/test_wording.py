import pytest

from server.admission.limits.accounts import Account
from server.admission.limits.wording import duration, headers_of
from server.allowance import Budgets


@pytest.mark.parametrize(
    ("ms", "told"),
    [(0, b"0ms"), (20, b"20ms"), (1000, b"1s"), (1500, b"1.5s"), (60_000, b"1m0s"), (361_250, b"6m1.25s")],
)
def test_durations_are_written_as_openai_writes_them(ms: int, told: bytes) -> None:
    assert duration(ms) == told


def account(level: float, **budgets: int) -> Account:
    made = Account(0)
    made.configure(Budgets(**budgets), 1)
    made.levels = [level] * 4
    return made


def test_of_key_and_tenant_the_one_with_less_left_is_told() -> None:
    key, tenant = account(10, requests=100, images=1), account(55, requests=60, tokens=110)
    assert headers_of([key, tenant]) == (
        (b"x-ratelimit-limit-requests", b"60"),
        (b"x-ratelimit-remaining-requests", b"5"),
        (b"x-ratelimit-reset-requests", b"55s"),
        (b"x-ratelimit-limit-tokens", b"110"),
        (b"x-ratelimit-remaining-tokens", b"55"),
        (b"x-ratelimit-reset-tokens", b"30s"),
    )


def test_what_is_overdrawn_is_told_as_nothing_left() -> None:
    assert dict(headers_of([account(20, tokens=10)]))[b"x-ratelimit-remaining-tokens"] == b"0"
    assert dict(headers_of([account(0, tokens=0)]))[b"x-ratelimit-reset-tokens"] == b"0ms"
