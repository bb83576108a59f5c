"""Bounds what all requests together hold in memory: a permit for bytes is taken before they are read."""

import asyncio
from collections import deque
from typing import Self

from prometheus_client import Gauge

from server.errors import BusyError


class ByteBudget:
    """`total` bytes, given out first come first served; who waits longer than `wait_s` is sent away."""

    def __init__(self, total: int, wait_s: float, held: Gauge) -> None:
        self._total = total
        self._free = total
        self._wait_s = wait_s
        held.set_function(lambda: self.held)
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def held(self) -> int:
        return self._total - self._free

    def hold(self) -> "Holding":
        """What one request holds; all of it is given back at the end of a `with` block, however that comes."""
        return Holding(self)

    def take_now(self, count: int) -> bool:
        """Whether they were free, and nobody waits for them; then they are taken."""
        if self._waiting or count > self._free:
            return False
        self._free -= count
        return True

    async def take(self, count: int) -> None:
        """Raises BusyError."""
        if self.take_now(count):
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((count, turn))
        try:
            async with asyncio.timeout(self._wait_s):
                await turn
        except TimeoutError as problem:
            self._leave(count, turn)
            raise BusyError("Too many bytes are under way: try again later.") from problem
        except asyncio.CancelledError:
            self._leave(count, turn)
            raise

    def give(self, count: int) -> None:
        self._free += count
        while self._waiting and self._waiting[0][0] <= self._free:
            count, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= count
                turn.set_result(None)

    def _leave(self, count: int, turn: "asyncio.Future[None]") -> None:
        """Its bytes may have been given at the very moment at which it left; whoever is behind it moves up."""
        if turn.done() and not turn.cancelled():
            self.give(count)
            return
        turn.cancel()
        self._waiting = deque(each for each in self._waiting if each[1] is not turn)
        self.give(0)


class Holding:
    """Bytes that one request has taken."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_all()

    async def take(self, count: int) -> None:
        """Wait for a permit for `count` bytes. Raises BusyError."""
        if not self._budget.take_now(count):
            await self._budget.take(count)
        self._count += count

    def give(self, count: int) -> None:
        """Give back what turned out not to be needed."""
        self._count -= count
        self._budget.give(count)

    def give_all(self) -> None:
        if self._count:
            self.give(self._count)
