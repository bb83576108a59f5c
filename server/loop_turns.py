"""Shares the event loop out among requests that move much: otherwise all that are ready are served in one go, and
whoever streams waits for them all."""

import asyncio
from collections import deque
from collections.abc import Callable

# Bytes that are moved in one turn, at most: some tenths of a millisecond.
TURN_BYTES = 512 * 1024


class LoopTurns:
    """Lets at most `most` large steps happen each time that the loop comes round; the rest wait in their order.

    A step is what follows a turn up to the next `await` that waits. Nobody holds a turn: who is slow to use one
    keeps it from nobody. As many wait as requests are under way, at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        # Asking for the running loop asks the kernel for the process's number each time (CPython 3.11).
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        if not self.take_now():
            await self._wait()

    def take_now(self) -> bool:
        """Whether there was a turn to take, which now is taken."""
        if self._taken >= self._most:
            return False
        if not self._taken:
            self._running_loop().call_soon(self._come_round)
        self._taken += 1
        return True

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def when_free(self, step: Callable[[], None]) -> None:
        """Take the next turn for `step`."""
        self._wait().add_done_callback(lambda _: step())

    def _wait(self) -> asyncio.Future[None]:
        turn: asyncio.Future[None] = self._running_loop().create_future()
        self._waiting.append(turn)
        return turn

    def _come_round(self) -> None:
        """Once a round, for as long as turns are taken."""
        self._taken = 0
        while self._waiting and self._taken < self._most:
            turn = self._waiting.popleft()
            if not turn.done():  # its task was cancelled
                turn.set_result(None)
                self._taken += 1
        if self._taken:
            self._running_loop().call_soon(self._come_round)
