import asyncio

import pytest

from server.admission.gate import Gate
from server.domain import Cost
from server.errors import BusyError
from server.metrics import Metrics

COST = Cost(0, 0, 0)


async def test_no_more_than_the_limit_run_at_once() -> None:
    gate = Gate(3, 100, 5, Metrics())
    running, most = 0, 0

    async def work() -> None:
        nonlocal running, most
        async with gate.admit(COST):
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1

    await asyncio.gather(*(work() for _ in range(20)))
    assert most == 3


async def test_a_full_queue_is_refused_at_once_with_retry_after() -> None:
    gate = Gate(1, 0, 60, Metrics())
    async with gate.admit(COST):
        with pytest.raises(BusyError) as caught:
            async with gate.admit(COST):
                raise AssertionError("admitted")
    assert caught.value.retry_after_s >= 1


async def test_waiting_has_a_deadline() -> None:
    gate = Gate(1, 5, 0.01, Metrics())
    async with gate.admit(COST):
        with pytest.raises(BusyError, match=r"within 0.01 s"):
            async with gate.admit(COST):
                raise AssertionError("admitted")


@pytest.mark.parametrize("failure", [ValueError, asyncio.CancelledError])
async def test_a_permit_is_freed_however_its_block_ends(failure: type[BaseException]) -> None:
    metrics = Metrics()
    gate = Gate(1, 0, 1, metrics)
    for _ in range(3):
        with pytest.raises(failure):
            async with gate.admit(COST):
                raise failure
    async with gate.admit(COST) as permit:
        assert permit.cost == COST
    assert metrics.registry.get_sample_value("fovea_requests_waiting") == 0


async def test_a_waiter_that_is_cancelled_leaves_no_trace() -> None:
    gate = Gate(1, 1, 60, Metrics())
    async with gate.admit(COST):
        waiter = asyncio.create_task(gate.admit(COST).__aenter__())
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
    async with gate.admit(COST):
        pass
