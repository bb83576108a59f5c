"""Callers that leave, told by a connection that the test is."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from server.api.exchange import EXCHANGE
from server.api.leaving import ClientLeft, UntilCallerLeaves


class Connection:
    """What `UntilCallerLeaves` asks of an exchange."""

    def __init__(self) -> None:
        self.disconnected = False
        self.then: Callable[[], object] | None = None

    def call_when_left(self, then: Callable[[], object] | None) -> None:
        self.then = then

    @property
    def scope(self) -> dict[str, Any]:
        return {"extensions": {EXCHANGE: self}}


async def work(connection: Connection, done: list[str], pause_s: float = 10) -> None:
    try:
        with UntilCallerLeaves(connection.scope):
            try:
                await asyncio.sleep(pause_s)
            finally:
                await asyncio.sleep(0)
                done.append("cleaned up")
    except ClientLeft:
        await asyncio.sleep(0)  # nothing of the cancellation is left
        done.append("left")


async def begin(connection: Connection, done: list[str], **named: float) -> asyncio.Task[None]:
    task = asyncio.create_task(work(connection, done, **named))
    await asyncio.sleep(0)
    return task


async def test_a_caller_that_leaves_ends_the_work_after_its_clean_up() -> None:
    connection, done = Connection(), list[str]()
    task = await begin(connection, done)
    assert connection.then is not None
    connection.then()
    await task
    assert done == ["cleaned up", "left"]
    assert task.cancelling() == 0
    assert connection.then is None


async def test_a_caller_that_has_left_before_begins_nothing() -> None:
    connection = Connection()
    connection.disconnected = True
    with pytest.raises(ClientLeft), UntilCallerLeaves(connection.scope):
        raise AssertionError


@pytest.mark.parametrize("leaves", ["never", "before", "after"])
async def test_who_else_cancels_sees_it_cancelled_and_not_left(leaves: str) -> None:
    connection, done = Connection(), list[str]()
    task = await begin(connection, done)
    assert connection.then is not None
    if leaves == "before":
        connection.then()
    task.cancel()
    if leaves == "after":
        connection.then()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["cleaned up"]


async def test_a_caller_that_leaves_as_the_work_wakes_up_still_ends_it() -> None:
    """The work is no longer suspended then, but has not run either."""
    connection, done = Connection(), list[str]()
    woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait() -> None:
        with UntilCallerLeaves(connection.scope):
            await woken
            done.append("went on")

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    woken.set_result(None)
    assert connection.then is not None
    connection.then()
    with pytest.raises(ClientLeft):
        await task
    assert (done, task.cancelling()) == ([], 0)


async def test_a_deadline_inside_the_work_and_a_caller_that_leaves_at_once_are_told_apart() -> None:
    connection = Connection()

    async def wait() -> None:
        with UntilCallerLeaves(connection.scope):
            async with asyncio.timeout(0):
                await asyncio.sleep(0)
                await asyncio.sleep(10)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    assert connection.then is not None
    connection.then()
    with pytest.raises(ClientLeft):
        await task
    assert task.cancelling() == 0


async def test_work_that_fails_while_it_is_stopped_says_why() -> None:
    connection = Connection()

    async def wait() -> None:
        with UntilCallerLeaves(connection.scope):
            try:
                await asyncio.sleep(10)
            finally:
                raise ZeroDivisionError

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    assert connection.then is not None
    connection.then()
    with pytest.raises(ZeroDivisionError):
        await task
    assert task.cancelling() == 0


async def test_other_servers_tell_nothing_and_nothing_is_asked_of_them() -> None:
    with UntilCallerLeaves({}):
        await asyncio.sleep(0)
