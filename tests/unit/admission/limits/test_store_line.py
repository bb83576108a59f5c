import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from server.admission.limits import store_line
from server.admission.limits.store_line import Command, StoreLine, StoreLost
from server.metrics import Metrics


class FakeStore:
    """Answers with what it was asked. While `fault` is set, whoever asks gets it; while `go` is not, nothing."""

    def __init__(self) -> None:
        self.done: list[Command] = []
        self.exchanges = 0
        self.fault: StoreLost | None = None
        self.go = asyncio.Event()
        self.go.set()
        self.gateways = 1

    def __call__(self) -> "FakeStore":
        return self

    async def open(self) -> None:
        if self.fault:
            raise self.fault

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        await self.go.wait()
        if self.fault:
            raise self.fault
        self.exchanges += 1
        self.done += commands
        return [self.gateways if "t:gateways" in command else command[0] for command in commands]

    async def close(self) -> None:
        if self.fault:
            raise self.fault

    def told(self) -> list[Any]:
        return [command[0] for command in self.done if command[0] not in ("SCRIPT", "EVALSHA", "ZREM")]


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@asynccontextmanager
async def line_to(
    store: FakeStore, metrics: Metrics, timeout_s: float = 5, lease_s: float = 15
) -> AsyncIterator[StoreLine]:
    line = StoreLine(store, "t:", timeout_s, lease_s, metrics)
    await line.start()
    try:
        yield line
    finally:
        store.go.set()
        await line.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def nothing(_: Any) -> None:
    pass


async def test_what_waits_goes_out_together_and_in_order(store: FakeStore, metrics: Metrics) -> None:
    async with line_to(store, metrics) as line:
        before = store.exchanges
        replies = [line.ask((number,), nothing) for number in range(5)]
        line.tell(("last",))
        assert await asyncio.gather(*replies) == [0, 1, 2, 3, 4]
        assert store.told() == [0, 1, 2, 3, 4, "last"]
        assert store.exchanges == before + 1


async def test_a_batch_is_bounded(store: FakeStore, metrics: Metrics) -> None:
    async with line_to(store, metrics) as line:
        before = store.exchanges
        await asyncio.gather(*(line.ask((number,), nothing) for number in range(300)))
        assert store.told() == list(range(300))
        assert store.exchanges == before + 3


async def test_what_is_cancelled_before_it_goes_out_is_not_carried_out(store: FakeStore, metrics: Metrics) -> None:
    async with line_to(store, metrics) as line:
        one, other = line.ask(("one",), nothing), line.ask(("other",), nothing)
        one.cancel()
        await other
        assert store.told() == ["other"]


async def test_what_is_cancelled_on_its_way_is_undone(store: FakeStore, metrics: Metrics) -> None:
    undone: list[Any] = []
    async with line_to(store, metrics) as line:
        store.go.clear()
        reply = line.ask(("one",), undone.append)
        await asyncio.sleep(0.01)
        reply.cancel()
        store.go.set()
        await line.ask(("other",), nothing)
        assert undone == ["one"]


async def test_a_store_that_does_not_answer_is_lost_after_its_time_and_all_who_wait_are_told(
    store: FakeStore, metrics: Metrics, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_line, "FIRST_PAUSE_S", 0.01)
    caplog.set_level(logging.INFO, "fovea.limits")
    store.gateways = 3
    async with line_to(store, metrics, timeout_s=0.02) as line:
        store.go.clear()
        sent = line.ask(("sent",), nothing)
        await asyncio.sleep(0.005)
        waiting = line.ask(("waiting",), nothing)
        for reply in (sent, waiting):
            with pytest.raises(StoreLost):
                await reply
        assert not line.up
        assert line.gateways == 3
        with pytest.raises(StoreLost):
            line.ask(("later",), nothing)
        line.tell(("later",))
        assert metrics.registry.get_sample_value("fovea_limit_store_up") == 0
        assert metrics.registry.get_sample_value("fovea_limit_store_errors_total", {"kind": "timeout"}) == 1
        store.go.set()
        await until(lambda: line.up)
        assert await line.ask(("again",), nothing) == "again"
        assert store.told() == ["again"]
    assert [record.getMessage() for record in caplog.records] == [
        "the store of limits is lost (timeout): of each limit this gateway now has 1/3",
        "the store of limits answers again: limits are shared by 3 gateways",
    ]


async def test_a_store_that_stays_away_is_one_line_and_many_counts(
    store: FakeStore, metrics: Metrics, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_line, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(store_line, "LONGEST_PAUSE_S", 0.001)
    store.fault = StoreLost("refused", "READONLY")
    async with line_to(store, metrics) as line:
        assert not line.up

        def refused() -> float:
            return metrics.registry.get_sample_value("fovea_limit_store_errors_total", {"kind": "refused"}) or 0

        await until(lambda: refused() > 5)
        assert [record.getMessage() for record in caplog.records] == [
            "the store of limits is lost (refused, READONLY): of each limit this gateway now has 1/1"
        ]


async def test_leases_are_renewed_until_they_are_let_go(store: FakeStore, metrics: Metrics) -> None:
    async with line_to(store, metrics, lease_s=0.1) as line:

        def renewals() -> int:
            return sum("t:key" in command for command in store.done)

        lease = line.new_lease()
        line.hold(["t:key"], lease)
        await until(lambda: renewals() >= 3)
        assert {command[3:] for command in store.done if "t:key" in command} == {("t:key", 100_000, lease)}
        line.let_go(["t:key"], lease)
        before = renewals()
        announced = len(store.done)
        await until(lambda: len(store.done) >= announced + 3)
        assert renewals() == before


async def test_no_more_wait_than_there_is_room_for(
    store: FakeStore, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_line, "MOST_WAITING", 3)
    async with line_to(store, metrics) as line:
        replies = [line.ask((number,), nothing) for number in range(3)]
        with pytest.raises(StoreLost):
            line.ask((3,), nothing)
        line.tell((4,))
        assert await asyncio.gather(*replies) == [0, 1, 2]
        assert store.told() == [0, 1, 2]


async def test_a_closed_line_leaves_nobody_waiting(store: FakeStore, metrics: Metrics) -> None:
    async with line_to(store, metrics) as line:
        reply = line.ask(("one",), nothing)
    assert reply.done()
    assert not line.up
    assert store.done[-1][:2] == ("ZREM", "t:gateways")
