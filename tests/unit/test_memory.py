import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge

from server.errors import BusyError
from server.memory import ByteBudget


def make(total: int, wait_s: float = 5) -> tuple[ByteBudget, Gauge]:
    gauge = Gauge("held", "bytes", registry=CollectorRegistry())
    return ByteBudget(total, wait_s, gauge), gauge


def held(gauge: Gauge) -> float:
    return next(iter(gauge.collect())).samples[0].value


async def test_what_a_request_took_is_given_back_however_it_ends() -> None:
    budget, gauge = make(100)

    async def fail() -> None:
        with budget.hold() as holding:
            await holding.take(60)
            holding.give(20)
            assert held(gauge) == 40
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert held(gauge) == 0


async def test_who_asks_for_more_than_there_is_waits_until_it_is_given_back() -> None:
    budget, gauge = make(100)
    with budget.hold() as first, budget.hold() as second:
        await first.take(80)
        waiting = asyncio.create_task(second.take(30))
        await asyncio.sleep(0)
        assert not waiting.done()
        first.give(10)
        await waiting
        assert held(gauge) == 100
    assert held(gauge) == 0


async def test_a_small_one_does_not_overtake_a_large_one() -> None:
    budget, _ = make(100)
    order: list[str] = []

    async def take(name: str, count: int) -> None:
        with budget.hold() as holding:
            await holding.take(count)
            order.append(name)

    with budget.hold() as first:
        await first.take(90)
        tasks = [asyncio.create_task(take("large", 50)), asyncio.create_task(take("small", 5))]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert order == ["large", "small"]


async def test_who_waits_too_long_is_sent_away_and_the_next_moves_up() -> None:
    budget, gauge = make(100, wait_s=0.2)
    with budget.hold() as first, budget.hold() as large, budget.hold() as small:
        await first.take(90)
        waiting = asyncio.create_task(large.take(50))
        await asyncio.sleep(0.1)
        behind = asyncio.create_task(small.take(10))
        with pytest.raises(BusyError, match="Too many bytes"):
            await waiting
        await behind
        assert held(gauge) == 100
    assert held(gauge) == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_the_bound_holds_and_nothing_is_lost_whoever_leaves_when(seed: int) -> None:
    rng = random.Random(seed)
    budget, gauge = make(100, wait_s=0.02)

    async def request() -> None:
        with budget.hold() as holding:
            for _ in range(rng.randint(1, 3)):
                count = rng.randint(0, 60)
                await holding.take(count)
                assert held(gauge) <= 100
                await asyncio.sleep(rng.random() * 0.005)
                holding.give(rng.randint(0, count))

    async def scene() -> None:
        tasks = [asyncio.create_task(request()) for _ in range(20)]
        for task in tasks:
            await asyncio.sleep(rng.random() * 0.002)
            if rng.random() < 0.3:
                rng.choice(tasks).cancel()
            del task
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(each is None or isinstance(each, BusyError | asyncio.CancelledError) for each in found)
        assert held(gauge) == 0
        with budget.hold() as holding:
            await holding.take(100)

    asyncio.run(scene())
