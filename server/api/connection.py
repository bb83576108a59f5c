"""One caller's connection: uvicorn's HTTP/1.1 protocol with the bounds that it lacks.

uvicorn on httptools takes a head of any size for as long as it comes, waits for ever for a caller that does not
read, and lets one read hold thousands of pipelined requests. All of that comes before any API key is looked at.
What two parsers on the way may read as two different requests is refused here too (RFC 9112, 11.2), in our words.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, ClassVar

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from server.api.in_place import BodyInPlace
from server.api.problems import problem_body
from server.api.wire import IN_PLACE
from server.errors import GatewayError, HeadTooLarge, HeadTooSlow, MalformedHttp, TooManyConnections
from server.loop_turns import LoopTurns

MOST_HEADERS = 128
MOST_PIPELINED = 16
# A refused caller that is still sending has this long to read its answer.
LINGER_S = 1.0


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """`head_s` for a request's line and headers to arrive; `stall_s` for a caller to read what it was sent."""

    max_connections: int
    max_head_bytes: int
    head_s: float
    stall_s: float


def bounded_connection(limits: ConnectionLimits) -> type[HttpToolsProtocol]:
    """The protocol class for uvicorn's `http`, which is given no arguments of ours."""
    return type("BoundedConnection", (BoundedHttp,), {"limits": limits})


class BoundedHttp(HttpToolsProtocol):
    """`_in_head` until a head is complete, and between requests; `_head_bytes` counts what has come of it
    (a read may hold the end of one request and the beginning of the next), `_begun` the requests so far."""

    limits: ClassVar[ConnectionLimits]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._head_bytes = 0
        self._begun = 0
        self._body_is_open = False
        self._fault: GatewayError | None = None
        self._refused = False
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            self._refuse(TooManyConnections("Too many connections are open: try again later."))
            return
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_deadline()
        self.resume_writing()
        if self.scope is not None:
            self.scope.pop("extensions", None)  # it holds this connection, which holds it
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        while data and not self._refused and not self.transport.is_closing():
            if not self._in_head:
                super().data_received(data)
                return
            if self._deadline is None:
                self._expect_head()
            most = self.limits.max_head_bytes
            piece, data = data[: most - self._head_bytes], data[most - self._head_bytes :]
            begun = self._begun + (not self._head_bytes)
            super().data_received(piece)
            # A head that began somewhere within the piece is counted from the next one on.
            if self._in_head and self._body_is_open and self._begun <= begun:
                self._head_bytes += len(piece)
            if self._head_bytes >= most:
                self._refuse(HeadTooLarge(f"The request's head is larger than {most} bytes."))

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._fault or MalformedHttp("This is not a valid HTTP/1.1 request."))

    # Callbacks of the parser: what they raise stops it, and comes back as `send_400_response`.
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes, self._body_is_open = True, 0, True
        self._begun += 1
        if len(self.pipeline) >= MOST_PIPELINED:
            self._stop(MalformedHttp("Too many requests were sent at once."))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > MOST_HEADERS:
            self._stop(HeadTooLarge(f"The request has more than {MOST_HEADERS} headers."))

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        self._cancel_deadline()
        fault = ambiguity(self.parser.get_http_version(), self.url, self.headers)
        if fault:
            self._stop(MalformedHttp(fault))
        self.scope["extensions"] = {IN_PLACE: {"read": self.read_in_place}}
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """As uvicorn does, but what nothing waits before is handed on as the bytes that it is: put into a bytearray
        and taken out of it again, every body would be copied twice more."""
        cycle = self.cycle
        if cycle is None or cycle.body or cycle.response_complete:
            super().on_body(body)
            return
        cycle.body = body  # type: ignore[assignment]
        if len(body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    async def read_in_place(self, place: memoryview, turns: LoopTurns) -> bool:
        """Fill `place` with the rest of the body that is being read, whose length that is; False where the caller
        has left. What has come of it before must have been taken."""
        if self.transport.is_closing():
            return False
        self.flow.pause_reading()
        return await BodyInPlace(self, self.transport, place, turns).read()

    def body_is_in_place(self, whole: bool) -> None:
        """A parser that has not seen the body's end takes whatever comes for more of it: right where it was given
        up, since the connection is closed soon. Where it is whole, another one begins behind it."""
        if whole:
            self.parser = httptools.HttpRequestParser(self)
            # As uvicorn sets its first: a last request is answered although something stands behind it.
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self.on_message_complete()
        self.flow.resume_reading()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head, self._head_bytes, self._body_is_open = True, 0, False
        self._cancel_deadline()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._body_is_open and not self.transport.is_closing():
            self._cancel_deadline()
            self._deadline = self.loop.call_later(LINGER_S, self.transport.close)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(self.limits.stall_s, self.transport.abort)

    def resume_writing(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        super().resume_writing()

    def _expect_head(self) -> None:
        late = HeadTooSlow(f"The request's head did not arrive within {self.limits.head_s:g} s.")
        self._deadline = self.loop.call_later(self.limits.head_s, self._refuse, late)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _stop(self, fault: GatewayError) -> None:
        self._fault = fault
        raise fault

    def _refuse(self, problem: GatewayError) -> None:
        """Answer, read nothing more, and close: but not at once, since a caller that is still sending would be sent
        a reset and lose the answer. Where another request's answer is under way there is nothing to say."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._cancel_deadline()
        cycle = self.cycle
        if self.pipeline or (cycle is not None and cycle.response_started and not cycle.response_complete):
            self.transport.close()
            return
        body = problem_body(problem)
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[problem.status] + head + body)
        self.transport.write_eof()
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        self._deadline = self.loop.call_later(LINGER_S, self.transport.close)


def ambiguity(version: str, url: bytes, headers: list[tuple[bytes, bytes]]) -> str | None:
    """Why something before us may have read this head as another request; None where nothing can have."""
    if version not in ("1.1", "1.0"):
        return "Only HTTP/1.1 is spoken here."
    if not url.startswith(b"/") and url != b"*":
        return "The request's target must be a path."
    names = [name for name, _ in headers]
    if names.count(b"host") != 1 and (version == "1.1" or b"host" in names):
        return "The request must have exactly one Host header."
    if any(name == b"connection" and b"upgrade" in value.lower() for name, value in headers):
        return "Connections are not upgraded here: HTTP/1.1 alone is spoken."
    coding = [value for name, value in headers if name == b"transfer-encoding"]
    if coding and (version == "1.0" or [value.lower() for value in coding] != [b"chunked"]):
        return "The only Transfer-Encoding taken is chunked."
    return None
