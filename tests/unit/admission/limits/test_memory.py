import asyncio
import random
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.admission.limits.memory import NO_DRAW, Limits
from server.allowance import Budgets, Subject
from server.domain import Cost, Tenant
from server.errors import OverBudget, RateLimitExceeded
from server.metrics import Metrics

SMALL = Cost(0, 1, 9)


class Clock:
    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def limits(metrics: Metrics, clock: Clock) -> Limits:
    return Limits(metrics, clock)


def caller(tenant: Budgets | None = None, key: Budgets | None = None, name: str = "lab") -> Tenant:
    subjects = []
    if key is not None:
        subjects.append(Subject("key", f"{{{name}}}key", key))
    if tenant is not None:
        subjects.append(Subject("tenant", f"{{{name}}}", tenant))
    return Tenant(name, allowance=tuple(subjects))


def refusals(metrics: Metrics, of: str, budget: str) -> float:
    return metrics.registry.get_sample_value("fovea_limit_refusals_total", {"of": of, "budget": budget}) or 0


def test_without_limits_nothing_is_drawn(limits: Limits) -> None:
    with limits.draw(Tenant("lab"), SMALL) as draw:
        assert draw is NO_DRAW
        assert draw.headers() == ()


def test_the_error_says_whose_limit_it_is_how_much_and_when_to_come_back(
    limits: Limits, clock: Clock, metrics: Metrics
) -> None:
    lab = caller(tenant=Budgets(requests=2), key=Budgets(tokens=100))
    for _ in range(2):
        with limits.draw(lab, SMALL) as draw:
            draw.begin()
    with pytest.raises(RateLimitExceeded) as caught:
        limits.draw(lab, SMALL)
    assert caught.value.message == "This tenant may take 2 requests a minute: try again in 30.000 s."
    assert caught.value.retry_after_s == 31
    told = dict(caught.value.headers)
    assert told[b"retry-after-ms"] == b"30001"
    assert told[b"x-ratelimit-remaining-requests"] == b"0"
    assert told[b"x-ratelimit-reset-requests"] == b"1m0s"
    assert told[b"x-ratelimit-remaining-tokens"] == b"80"
    assert refusals(metrics, "tenant", "requests") == 1
    clock.now = 30_000_001
    with limits.draw(lab, SMALL):
        pass


def test_of_several_the_budget_that_takes_longest_is_named(limits: Limits) -> None:
    lab = caller(tenant=Budgets(requests=60, image_tokens=100), key=Budgets(places=1))
    cost = Cost(100, 0, 0)
    with limits.draw(lab, cost, 1) as draw:
        draw.begin()
        with pytest.raises(RateLimitExceeded, match="This tenant may take 100 image tokens a minute"):
            limits.draw(lab, cost, 1)
        with pytest.raises(RateLimitExceeded, match="This key has 1 requests running, as many as it may"):
            limits.draw(lab, Cost(0, 1, 1))


def test_all_is_drawn_or_nothing(limits: Limits) -> None:
    lab = caller(tenant=Budgets(tokens=100), key=Budgets(requests=5, images=3))
    for _ in range(20):
        with pytest.raises(OverBudget):
            limits.draw(lab, Cost(0, 0, 101), 1)
    with limits.draw(lab, Cost(0, 0, 100), 3) as draw:
        draw.begin()
        told = dict(draw.headers())
    assert told[b"x-ratelimit-remaining-requests"] == b"4"
    assert told[b"x-ratelimit-remaining-tokens"] == b"0"
    for _ in range(20):
        with pytest.raises(RateLimitExceeded):
            limits.draw(lab, SMALL)
    (_, account) = limits._accounts._accounts.values()
    assert account.levels == [0, 0, 0, 100]


@pytest.mark.parametrize(
    ("budgets", "images", "sentence"),
    [
        (Budgets(tokens=400), 0, r"takes 401 tokens \(100 of images, 301 of text and max_tokens\), and"),
        (Budgets(image_tokens=99), 0, r"takes 100 image tokens, and this tenant has 99 a minute: it can never"),
        (Budgets(images=1), 2, r"takes 2 images, and this tenant has 1 a minute"),
        (Budgets(requests=0), 0, r"takes 1 requests, and this tenant has 0 a minute"),
        (Budgets(places=0), 0, r"has no place for a request"),
    ],
)
def test_what_can_never_be_drawn_is_the_callers_to_change(
    limits: Limits, budgets: Budgets, images: int, sentence: str
) -> None:
    with pytest.raises(OverBudget, match=sentence):
        limits.draw(caller(tenant=budgets), Cost(100, 1, 300), images)


def test_a_request_that_no_engine_began_gives_back_all_but_itself(limits: Limits) -> None:
    lab = caller(tenant=Budgets(requests=10, images=2, image_tokens=50, tokens=100))
    for _ in range(10):
        with limits.draw(lab, Cost(50, 0, 50), 2):
            pass
    with pytest.raises(RateLimitExceeded, match="10 requests a minute"):
        limits.draw(lab, Cost(50, 0, 50), 2)


@pytest.mark.parametrize(("used", "left"), [(10, b"90"), (60, b"40"), (170, b"0")])
def test_what_an_engine_counted_is_what_is_paid(limits: Limits, used: int, left: bytes) -> None:
    lab = caller(tenant=Budgets(tokens=100))
    with limits.draw(lab, Cost(0, 10, 50)) as draw:
        draw.begin()
        draw.settle(used)
    assert dict(draw.headers())[b"x-ratelimit-remaining-tokens"] == left


def test_a_key_is_not_held_to_anothers_draws_but_their_tenant_is_to_both(limits: Limits) -> None:
    tenant = Subject("tenant", "{lab}", Budgets(requests=3))
    one, other = (
        Tenant("lab", allowance=(Subject("key", f"{{lab}}{name}", Budgets(requests=2)), tenant)) for name in "ab"
    )
    for _ in range(2):
        limits.draw(one, SMALL).__exit__(None, None, None)
    with pytest.raises(RateLimitExceeded, match="This key may take 2 requests"):
        limits.draw(one, SMALL)
    limits.draw(other, SMALL).__exit__(None, None, None)
    with pytest.raises(RateLimitExceeded, match="This tenant may take 3 requests"):
        limits.draw(other, SMALL)


@given(st.integers(0, 2**32), st.integers(1, 5))
async def test_places_are_given_back_whatever_happens(seed: int, places: int) -> None:
    """Requests that end, fail or are cancelled at any point, or wait for what never comes."""
    chance = random.Random(seed)
    limits = Limits(Metrics())
    lab = caller(tenant=Budgets(places=places))
    running = most = 0

    async def request() -> None:
        nonlocal running, most
        with limits.draw(lab, SMALL) as draw:
            running += 1
            most = max(most, running)
            try:
                await asyncio.sleep(chance.choice((0, 0, 0.001)))
                draw.begin()
                if chance.random() < 0.3:
                    raise ConnectionError
                if chance.random() < 0.3:
                    await asyncio.Event().wait()
                draw.settle(3)
            finally:
                running -= 1

    tasks = []
    for _ in range(30):
        tasks.append(asyncio.create_task(request()))
        if chance.random() < 0.5:
            await asyncio.sleep(0)
        if chance.random() < 0.4:
            chance.choice(tasks).cancel()
    await asyncio.sleep(0.002)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert most <= places
    (account,) = limits._accounts._accounts.values()
    assert account.running == 0
    for _ in range(places):
        limits.draw(lab, SMALL)
    with pytest.raises(RateLimitExceeded):
        limits.draw(lab, SMALL)


def refusal(limits: Limits, tenant: Tenant, cost: Cost) -> RateLimitExceeded | None:
    try:
        limits.draw(tenant, cost).begin()
    except RateLimitExceeded as refused:
        return refused
    return None


@given(
    st.lists(st.tuples(st.integers(0, 9_000_000), st.integers(1, 1000)), min_size=1, max_size=40),
    st.integers(1, 1000),
)
def test_whoever_comes_back_when_told_is_let_in_and_not_much_before(
    calls: list[tuple[int, int]], limit: int
) -> None:
    clock = Clock()
    limits, lab = Limits(Metrics(), clock), caller(tenant=Budgets(tokens=limit))
    for later, tokens in calls:
        clock.now += later
        cost = Cost(0, 0, min(tokens, limit))
        refused = refusal(limits, lab, cost)
        if refused is not None:
            wait_us = int(dict(refused.headers)[b"retry-after-ms"]) * 1000
            assert refused.retry_after_s == ceil(wait_us / 1e6)
            clock.now += wait_us - 1003
            assert refusal(limits, lab, cost) is not None
            clock.now += 1003
            assert refusal(limits, lab, cost) is None


def test_a_limit_that_is_lowered_to_nothing_leaves_requests_without_it_alone(clock: Clock) -> None:
    limits = Limits(Metrics(), clock)
    with limits.draw(Tenant("t", allowance=(Subject("tenant", "t", Budgets(images=10)),)), SMALL, 2):
        pass
    text_only = Tenant("t", allowance=(Subject("tenant", "t", Budgets(images=0)),))
    with limits.draw(text_only, SMALL, 0):
        pass
    with pytest.raises(OverBudget):
        limits.draw(text_only, SMALL, 1)
