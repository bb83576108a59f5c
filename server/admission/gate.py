"""Lets a bounded number of requests through to the engines; the rest wait, bounded in number and in time.

A permit is an argument of the call that needs it: no permit, no engine call.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.domain import Cost
from server.errors import BusyError
from server.metrics import Metrics
from server.permit import Permit, issue


class Gate:
    """At most `max_running` permits are out and at most `max_waiting` requests wait, first come first served."""

    def __init__(self, max_running: int, max_waiting: int, wait_timeout_s: float, metrics: Metrics) -> None:
        self._slots = asyncio.Semaphore(max_running)
        self._max_waiting = max_waiting
        self._wait_timeout_s = wait_timeout_s
        self._waiting = 0
        self._metrics = metrics

    @asynccontextmanager
    async def admit(self, cost: Cost) -> AsyncIterator[Permit]:
        """Hold a place while the block runs. Raises BusyError when the queue is full or the wait too long."""
        if self._slots.locked() and self._waiting >= self._max_waiting:
            raise BusyError("Too many requests are waiting: try again later.", self._retry_after_s())
        began = time.perf_counter()
        self._set_waiting(+1)
        try:
            async with asyncio.timeout(self._wait_timeout_s):
                await self._slots.acquire()
        except TimeoutError as problem:
            raise BusyError(
                f"No place came free within {self._wait_timeout_s:g} s: try again later.",
                self._retry_after_s(),
            ) from problem
        finally:
            self._set_waiting(-1)
        self._metrics.wait.observe(time.perf_counter() - began)
        permit = issue(cost)
        try:
            yield permit
        finally:
            permit.close()
            self._slots.release()

    def _set_waiting(self, change: int) -> None:
        self._waiting += change
        self._metrics.waiting.set(self._waiting)

    def _retry_after_s(self) -> int:
        return max(1, round(self._wait_timeout_s / 2))
