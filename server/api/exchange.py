"""One request and its answer on a caller's connection: uvicorn's cycle, with as few writes as there are frames.

Endpoints find it in their scope (`exchange_of`): it tells them of a caller that leaves, and hands them a body that
is all there already without a turn of the loop.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol, cast

from starlette.types import Scope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from server.loop_turns import LoopTurns

# In a request's extensions (ASGI).
EXCHANGE = "fovea.exchange"
# In a header, whose lines are joined by the only one that is meant to be there.
CONTROLS = bytes(code for code in range(32) if code != 9) + b"\x7f"
# Below it, one copy is cheaper than a write of several pieces.
LEAST_UNCOPIED_BYTES = 64 * 1024
# Of a body, that is kept as it came.
LEAST_PIECE_BYTES = 4096
BODILESS = (204, 304)


Pieces = list[bytes | bytearray]


class Signal:
    """asyncio.Event for one that waits, which most never do: a third of the time to make."""

    __slots__ = ("_is_set", "_loop", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._is_set = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        self._is_set = True
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def clear(self) -> None:
        self._is_set = False

    async def wait(self) -> None:
        while not self._is_set:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None


class Connection(Protocol):
    """What an exchange needs of the connection that it is on."""

    loop: asyncio.AbstractEventLoop
    flow: FlowControl
    transport: asyncio.Transport

    def on_response_complete(self) -> None: ...

    async def read_in_place(self, place: memoryview, turns: LoopTurns) -> bool: ...


class Exchange(RequestResponseCycle):
    """The answer's head waits for the first of its body, so that both go out in one write.

    Made by the connection for each request, and let go of by it: an exchange holds its connection, and its scope
    holds the exchange.
    """

    # What has come of the body and was not taken: large pieces as the parser gave them, which nobody copies before.
    _pieces: Pieces
    held: int

    def __init__(
        self,
        connection: Connection,
        scope: Scope,
        logger: logging.Logger,
        headers: list[tuple[bytes, bytes]],
        keep_alive: bool,
    ) -> None:
        # In the place of uvicorn's, which takes twice the time to say the same.
        self.scope = scope  # type: ignore[assignment]
        self.connection: Connection | None = connection
        self.transport, self.flow = connection.transport, connection.flow
        self.logger, self.access_log = logger, False
        self.default_headers = headers
        self.message_event = Signal(connection.loop)  # type: ignore[assignment]
        self.on_response = connection.on_response_complete
        self.disconnected = self.response_started = self.response_complete = False
        self.waiting_for_100_continue = False
        self.keep_alive = keep_alive
        self._pieces = []
        self.held = 0
        self.more_body = True
        self.chunked_encoding: bool | None = None
        self.expected_content_length = 0
        self._head = b""
        self._when_left: Callable[[], object] | None = None

    async def run_asgi(self, app: Any) -> None:
        try:
            await super().run_asgi(app)
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Part what holds each other in a circle: only the garbage collector would end it."""
        self.scope.pop("extensions", None)
        self.connection = self._when_left = None

    # Of callers that leave
    def call_when_left(self, then: Callable[[], object] | None) -> None:
        """`then` is called once, by the event loop, if the caller leaves before `None` takes its place.

        From here on the connection is read, whatever has come already: who is not read is not seen to leave.
        """
        self._when_left = then
        if then is not None:
            self.flow.resume_reading()

    def leave(self) -> None:
        """The caller is gone, or nothing more can be told to it."""
        if self.disconnected or self.response_complete:
            return
        self.disconnected = True
        self.message_event.set()
        if self._when_left is not None:
            self._when_left()

    # Of the request's body
    def add(self, piece: bytes) -> None:
        """More of it has come. Small pieces are put together: callers may send each byte in a chunk of its own, and
        each would be an object of forty bytes."""
        pieces = self._pieces
        if not pieces or len(piece) >= LEAST_PIECE_BYTES:
            pieces.append(piece)
        elif isinstance(last := pieces[-1], bytearray):
            last += piece
        else:
            pieces.append(bytearray(piece))
        self.held += len(piece)
        self.message_event.set()

    def take_pieces(self) -> Pieces:
        """What has come of it since the last time."""
        pieces, self._pieces, self.held = self._pieces, [], 0
        return pieces

    def take_whole_body(self) -> bytes | None:
        """The body, where all of it has come; it is not received then any more."""
        if self.more_body or self.disconnected or self.waiting_for_100_continue:
            return None
        pieces = self.take_pieces()
        self.flow.resume_reading()
        return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)

    async def receive_pieces(self) -> Pieces | None:
        """More of the body, when there is some; `more_body` says whether more is to come. None: the caller is gone,
        or the answer is over."""
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        if not (self.disconnected or self.response_complete):
            self.flow.resume_reading()
            await self.message_event.wait()
            self.message_event.clear()
        return None if self.disconnected or self.response_complete else self.take_pieces()

    async def receive(self) -> Any:
        """ASGI's, for applications that know of nothing else."""
        pieces = await self.receive_pieces()
        if pieces is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": b"".join(pieces), "more_body": self.more_body}

    async def read_in_place(self, place: memoryview, turns: LoopTurns) -> bool:
        """Fill `place` with the rest of the body, whose length that is; False where the caller has left. What has
        come of it before must have been received."""
        return self.connection is not None and await self.connection.read_in_place(place, turns)

    # Of the answer
    async def send(self, message: Any) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if kind == "http.response.body" and self.response_started and not self.response_complete:
            self._write(message.get("body", b""), message.get("more_body", False))
        elif kind == "http.response.start" and not self.response_started:
            self.response_started = True
            self.waiting_for_100_continue = False
            self._head = self._make_head(message["status"], [*self.default_headers, *message.get("headers", ())])
        else:
            raise RuntimeError(f"unexpected ASGI message '{kind}'")

    def _make_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        closes = False
        for name, value in headers:
            if name == b"content-length":
                self.expected_content_length, self.chunked_encoding = int(value), False
            elif name == b"connection" and b"close" in value.lower():
                self.keep_alive, closes = False, True
        if not self.keep_alive and not closes:
            headers.append((b"connection", b"close"))
        if self.chunked_encoding is None and self.scope["method"] != "HEAD" and status not in BODILESS:
            self.chunked_encoding = True
            headers.append((b"transfer-encoding", b"chunked"))
        lines = b"\n".join([name + b": " + value for name, value in headers])
        if len(lines) - len(lines.translate(None, CONTROLS)) != max(0, len(headers) - 1):
            raise RuntimeError("a header of the answer holds a control character")
        return STATUS_LINE[status] + lines.replace(b"\n", b"\r\n") + (b"\r\n\r\n" if headers else b"\r\n")

    def _write(self, body: bytes, more: bool) -> None:
        head, self._head = self._head, b""
        if self.scope["method"] == "HEAD":
            self.expected_content_length, pieces = 0, [head]
        elif self.chunked_encoding:
            pieces = [head, b"%x\r\n" % len(body), body, b"\r\n"] if body else [head]
            if not more:
                pieces.append(b"0\r\n\r\n")
        else:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0 or (self.expected_content_length and not more):
                raise RuntimeError("the answer's body is not as long as its content-length")
            pieces = [head, body]
        if len(body) < LEAST_UNCOPIED_BYTES:
            self.transport.write(b"".join(pieces))
        else:
            self.transport.writelines([piece for piece in pieces if piece])
        if not more:
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()


def exchange_of(scope: Scope) -> Exchange | None:
    """None where another server than ours serves the application."""
    return cast("Exchange | None", scope.get("extensions", {}).get(EXCHANGE))
