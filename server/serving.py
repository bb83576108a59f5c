"""Serves the application until it is told to stop, and then lets go of callers in order.

On SIGTERM: not ready at once; for `grace_s` everything is served as before, on connections that are closed behind
their answers, until nobody sends new requests here; then uvicorn's own shutdown closes the listeners and waits for
what runs; what still runs after `drain_s` is cut off, with an answer that says so. SIGINT leaves out the grace, a
second signal both waits.
"""

import asyncio
import contextlib
import signal
import socket
import time
from types import FrameType

import uvicorn

from server.drain import Drain
from server.workers.control import WorkerControl

# For what is cut off: to tell its caller and its engine.
LAST_WORDS_S = 2.0
CLOSE = (b"connection", b"close")


class GatewayServer(uvicorn.Server):
    """Ends with code 0 where uvicorn's would raise the signal once more."""

    def __init__(
        self,
        config: uvicorn.Config,
        drain: Drain,
        grace_s: float,
        drain_s: float,
        control: WorkerControl | None = None,
    ) -> None:
        config.timeout_graceful_shutdown = round(drain_s + 2 * LAST_WORDS_S)
        super().__init__(config)
        self._drain = drain
        self._grace_s = grace_s
        self._drain_s = drain_s
        self._grace_ends = 0.0
        self._now = asyncio.Event()
        self._control = control

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._control is not None:
            await self._control.start()
        await super().startup(sockets)
        if self._control is not None and self.started:
            self._control.serving()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by Python between two steps of the event loop."""
        if self._drain.draining:
            self._now.set()
        elif sig == signal.SIGTERM:
            self._grace_ends = time.monotonic() + self._grace_s
        self._drain.begin()
        self._close_behind_answers()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        ended = await super().on_tick(counter)
        if not self._drain.draining:
            return ended
        self._close_behind_answers()
        return ended or self._now.is_set() or time.monotonic() >= self._grace_ends

    def _close_behind_answers(self) -> None:
        """Told anew each second, since uvicorn makes these headers anew."""
        if CLOSE not in self.server_state.default_headers:
            self.server_state.default_headers = [*self.server_state.default_headers, CLOSE]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._drain.begin()
        ending = asyncio.create_task(self._end_what_runs())
        await super().shutdown(sockets)
        ending.cancel()
        if self._control is not None:
            await self._control.close()

    async def _end_what_runs(self) -> None:
        """Once its time is over, every request ends with an error that says why."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._now.wait(), self._drain_s)
        self._drain.end()
        for task in set(self.server_state.tasks):
            task.cancel()
        await asyncio.sleep(LAST_WORDS_S)
        for connection in set(self.server_state.connections):
            connection.transport.abort()  # whoever does not read even that
