"""Streams that wait, on a caller that the test is."""

import asyncio
from typing import Any

from server.api.keepalive import Keepalive

BEAT = b": keepalive\n\n"


class Caller:
    def __init__(self) -> None:
        self.got: list[Any] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.came = asyncio.Event()

    async def send(self, message: Any) -> None:
        self.came.set()
        await self.reads.wait()
        self.got.append(message.get("status") or message["body"])

    async def wait_for(self, count: int) -> None:
        while len(self.got) < count:
            await asyncio.sleep(0.001)


async def test_an_answer_that_comes_in_time_sees_nothing_of_it() -> None:
    caller = Caller()
    with Keepalive(caller.send, 60, BEAT) as keepalive:
        assert not await keepalive.stop()
    assert caller.got == []


async def test_status_and_comments_go_out_until_it_is_stopped_and_not_after() -> None:
    caller = Caller()
    with Keepalive(caller.send, 0.001, BEAT) as keepalive:
        await caller.wait_for(4)
        assert await keepalive.stop()
        count = len(caller.got)
        await asyncio.sleep(0.02)
    assert caller.got == [200, *[BEAT] * (count - 1)]


async def test_whoever_stops_it_waits_for_what_is_being_sent() -> None:
    caller = Caller()
    caller.reads.clear()
    with Keepalive(caller.send, 0.001, BEAT) as keepalive:
        await caller.came.wait()
        stopping = asyncio.create_task(keepalive.stop())
        await asyncio.sleep(0.01)
        assert not stopping.done()
        caller.reads.set()
        assert await stopping
    assert caller.got == [200, BEAT]


async def test_work_that_is_given_up_leaves_nothing_behind() -> None:
    caller = Caller()
    caller.reads.clear()
    with Keepalive(caller.send, 0.001, BEAT):
        await caller.came.wait()
    await asyncio.sleep(0.01)
    assert [task for task in asyncio.all_tasks() if task.get_name() == "keepalive"] == []
    assert caller.got == []
