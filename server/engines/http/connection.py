"""One connection to an engine: one request at a time, sent by `sending.py` and answered through `response.py`.

No task, no timer and no lock is made for a request. Whoever waits, waits for one future; the one timer looks, when
it rings, at the time that was last noted.
"""

import asyncio
from asyncio import AbstractEventLoop, Future, Transport
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from math import inf
from sys import maxsize
from typing import cast

from server.engines.http.failures import ConnectionEnded, NotHttp, OutOfTime, Phase, TransportFailure
from server.engines.http.response import Response

# Of a stream whose reader is slow: then the engine is read no more until it has taken them.
MOST_HELD_BYTES = 256 * 1024


@dataclass(slots=True)
class Deadlines:
    """Of one request: seconds to the first byte of its answer's body and between its pieces; and when all of it
    must be over, by the loop's clock, and whose wish that is. `when_sent` is called when it has gone out."""

    first_token_s: float
    idle_s: float
    end: float = inf
    whose: Phase = Phase.TOTAL
    when_sent: Callable[[], object] | None = None


class Connection(asyncio.Protocol):
    """Carries a request only when it is not `closed`, and a second one only after `release` has said so."""

    def __init__(self, loop: AbstractEventLoop, all_open: "set[Connection]") -> None:
        self._loop = loop
        self._all_open = all_open
        self._transport: Transport | None = None
        self._waiter: Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rings = self._due = inf
        self._phase: Phase = Phase.TOTAL
        # Made when it is raised: a kept exception would keep, by its traceback, whatever ran into it.
        self._failure: Callable[[], TransportFailure] | None = None
        self._busy = self._heard = self._unread = self._spoilt = self._writing_paused = False
        self._wake_at = self._most_held = 0
        self.response = Response()
        self.closed = False
        self.requests = 0
        self.idle_since = 0.0

    # For whoever sends a request and reads its answer.

    def begin(self, deadlines: Deadlines, stream: bool) -> None:
        """A request follows. With `stream`, its answer is read as it comes, and no faster."""
        self.response.begin()
        self._busy, self._heard, self._failure = True, False, None
        self._deadlines = deadlines
        self._wake_at, self._most_held = 0, MOST_HELD_BYTES if stream else maxsize
        self.requests += 1
        self._expect(Phase.FIRST_TOKEN, deadlines.first_token_s)

    def write(self, piece: bytes) -> None:
        if self._transport is not None and not self.closed:
            self._transport.write(piece)

    def write_all(self, pieces: Iterable[bytes | memoryview]) -> None:
        """The pieces must not change until the answer begins; the transport keeps those that it has not sent."""
        if self._transport is not None and not self.closed:
            self._transport.writelines(pieces)

    async def writable(self) -> bool:
        """Wait until more may be written. False where that is of no use: there is an answer, or an end, already."""
        while self._writing_paused and self._failure is None and not self.response.status:
            await self._wait(0)
        self.check()
        return not self.response.status

    async def answered(self, most: int = 0) -> None:
        """Wait until the response is complete, or more than `most` bytes of it are there. Raises TransportFailure,
        but not before all has been taken that came before it."""
        response = self.response
        while not response.complete and response.held <= most:
            self.check()
            await self._wait(most + 1)

    def check(self) -> None:
        if self._failure is not None:
            raise self._failure()

    def take(self) -> bytes:
        """What has come of the body since the last time."""
        response = self.response
        pieces = response.pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        response.held = 0
        if self._unread:
            self._unread = False
            if self._transport is not None and not self.closed:
                self._transport.resume_reading()
                self._expect(Phase.IDLE, self._deadlines.idle_s)
        return data

    def release(self) -> bool:
        """The request is over for its caller. Whether the connection may carry another; else it is cut off, and the
        engine with it, at once."""
        self._busy = False
        self._due = inf
        transport = self._transport
        reusable = self.response.reusable and not (self._spoilt or self._unread or self.closed)
        if transport is None or not reusable or transport.get_write_buffer_size():
            self.abort()
            return False
        self.idle_since = self._loop.time()
        return True

    def spoil(self) -> None:
        """This request is its last."""
        self._spoilt = True

    def abort(self) -> None:
        """Close without another word."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    # What follows is called by the loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(Transport, transport)  # uvloop's is one by its methods only
        self._all_open.add(self)

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            self.abort()  # nobody asked
            return
        response = self.response
        self._heard = True
        held = response.held
        response.feed(data)
        if response.fault is not None:
            self._fail(partial(NotHttp, response.fault))
            return
        if response.held > held:
            self._expect(Phase.IDLE, self._deadlines.idle_s)
            if response.held > self._most_held and not self._unread and self._transport is not None:
                self._unread = True
                self._transport.pause_reading()
                self._expect(Phase.TOTAL, inf)
        if response.complete or response.held >= self._wake_at:
            self._wake()

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        ended = self.response.complete or (exc is None and self._failure is None and self.response.end())
        if self._busy and not ended:  # where it is we who gave up, that ends no answer
            how = "closed" if exc is None else "lost"
            when = "inside its answer" if self._heard else "before its answer"
            self._fail(partial(ConnectionEnded, f"the connection was {how} {when}", self._heard))
        self._transport = self._timer = None
        self.response.close()
        self._all_open.discard(self)
        self._wake()

    # Waiting and time.

    async def _wait(self, wake_at: int) -> None:
        """Until `wake_at` bytes are held, or anything else happens that ends waiting."""
        self._wake_at = wake_at
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, failure: Callable[[], TransportFailure]) -> None:
        if self._failure is None:
            self._failure = failure
        self.abort()
        self._wake()

    def _expect(self, phase: Phase, seconds: float) -> None:
        """Something must come within `seconds`."""
        due, deadlines = self._loop.time() + seconds, self._deadlines
        if due >= deadlines.end:
            due, phase = deadlines.end, deadlines.whose
        self._due, self._phase = due, phase
        if due < self._rings:
            self._set_timer(due)

    def _set_timer(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings = due
        self._timer = self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
        self._timer, self._rings = None, inf
        if self.closed or self._due == inf:
            return
        if self._loop.time() >= self._due:
            self._fail(partial(OutOfTime, self._phase))
        else:
            self._set_timer(self._due)
