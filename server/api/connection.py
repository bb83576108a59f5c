"""One caller's connection: uvicorn's HTTP/1.1 protocol with the bounds that it lacks.

uvicorn on httptools takes a head of any size for as long as it comes, waits for ever for a caller that does not
read, and lets one read hold thousands of pipelined requests. All of that comes before any API key is looked at.
What two parsers on the way may read as two different requests is refused here too (RFC 9112, 11.2), in our words.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, ClassVar, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from server.api.exchange import EXCHANGE, LEAST_UNCOPIED_BYTES, Exchange
from server.api.in_place import BodyInPlace
from server.api.problems import problem_body
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
    cycle: Exchange | None  # type: ignore[assignment]  # of the request that came last

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._head_bytes = 0
        self._begun = 0
        self._body_is_open = False
        self._answering: Exchange | None = None
        self._idle_since: float | None = None
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
        self._cancel_stall()
        super()._unset_keepalive_if_required()
        super().resume_writing()
        for exchange in (self._answering, self.cycle):  # where requests are pipelined, two
            if exchange is not None:
                exchange.leave()
        for cycle, _ in self.pipeline:
            cast(Exchange, cycle).let_go()  # it never began
        super().connection_lost(exc)

    def data_received(self, came: bytes) -> None:
        data: bytes | memoryview = came if len(came) < LEAST_UNCOPIED_BYTES else memoryview(came)
        while data and not self._refused and not self.transport.is_closing():
            self._idle_since = None
            if not self._in_head:
                super().data_received(data)  # type: ignore[arg-type]  # the parser takes either
                return
            most = self.limits.max_head_bytes
            piece, data = data[: most - self._head_bytes], data[most - self._head_bytes :]
            before = self._begun
            begun = before + (not self._head_bytes)
            super().data_received(piece)  # type: ignore[arg-type]
            # Most heads come whole, and need no deadline; what begins none at all is given no longer than one. What
            # comes while an answer runs is given a time by its end.
            waits = self._answering is None and self._deadline is None
            if self._in_head and waits and (self._body_is_open or self._begun == before):
                self._expect_head()
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
        self.headers.append((name.lower(), value))
        if len(self.headers) > MOST_HEADERS:
            self._stop(HeadTooLarge(f"The request has more than {MOST_HEADERS} headers."))

    def on_headers_complete(self) -> None:
        """As uvicorn does, without what only upgrades and its own limits need."""
        self._in_head, self._head_bytes = False, 0
        self._cancel_deadline()
        version, scope = self.parser.get_http_version(), self.scope
        fault = ambiguity(version, self.url, self.headers)
        if fault:
            self._stop(MalformedHttp(fault))
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = version
        scope["path"] = self.root_path + (unquote(path) if "%" in path else path)
        scope["raw_path"] = url.path
        scope["query_string"] = url.query or b""
        keep_alive = version != "1.0" and self.parser.should_keep_alive()
        headers = self.server_state.default_headers
        exchange = Exchange(self, scope, self.logger, headers, keep_alive)  # type: ignore[arg-type]
        scope["extensions"] = {EXCHANGE: exchange}  # type: ignore[dict-item]
        exchange.waiting_for_100_continue = is_awaiting(self.headers)
        self.cycle = exchange
        if self._answering is None:
            self._start_asgi_task(exchange, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))

    def _start_asgi_task(self, cycle: Exchange, app: Any) -> None:  # type: ignore[override]
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        """Handed on as the bytes that it is: put into a bytearray and taken out of it again, as uvicorn does, every
        body would be copied twice more."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return
        cycle.add(body)
        if cycle.held > HIGH_WATER_LIMIT:
            self.flow.pause_reading()

    async def read_in_place(self, place: memoryview, turns: LoopTurns) -> bool:
        """Fill `place` with the rest of the body that is being read, whose length that is; False where the caller
        has left. What has come of it before must have been taken."""
        if self.transport.is_closing():
            return False
        self.flow.pause_reading()
        return await BodyInPlace(self, self.transport, place, turns, self.loop).read()

    def body_is_in_place(self, whole: bool) -> None:
        """Behind a whole body another parser begins. Where it was given up, nobody can tell any more where it ends:
        nothing more is read as a request, and the answer's end closes the connection."""
        if whole:
            self.parser = httptools.HttpRequestParser(self)
            # As uvicorn sets its first: a last request is answered although something stands behind it.
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self.on_message_complete()
        else:
            self._refused = True
        self.flow.resume_reading()

    def on_message_complete(self) -> None:
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()
        self._in_head, self._head_bytes, self._body_is_open = True, 0, False
        self._cancel_deadline()
        if self._answering is None:  # answered before it had come whole
            self._begin_idling()

    def on_response_complete(self) -> None:
        """The next request's turn; or, until one comes, the time for which an idle connection is kept."""
        self.server_state.total_requests += 1
        self._answering = None
        if self.transport.is_closing():
            self._bound_closing()
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())  # type: ignore[arg-type]
            return
        self._begin_idling()
        if self._body_is_open:
            self._cancel_deadline()
            self._deadline = self.loop.call_later(LINGER_S, self._close)

    def _unset_keepalive_if_required(self) -> None:
        """Called for every read: one timer looks from time to time instead."""

    def _begin_idling(self) -> None:
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_again_in(self.timeout_keep_alive)

    def _look_again_in(self, delay_s: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(delay_s, self._close_if_idle)

    def _close_if_idle(self) -> None:
        self.timeout_keep_alive_task = None
        if self._idle_since is None:  # the next answer's end looks again
            return
        left_s = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self._look_again_in(left_s)
        else:
            self.timeout_keep_alive_handler()
            self._bound_closing()

    def _close(self) -> None:
        self.transport.close()
        self._bound_closing()

    def _bound_closing(self) -> None:
        """Closing waits for the caller to read what is unsent, be it too little to pause writing."""
        if self._stalled is None and self.transport.get_write_buffer_size():
            self._stalled = self.loop.call_later(self.limits.stall_s, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(self.limits.stall_s, self.transport.abort)

    def resume_writing(self) -> None:
        self._cancel_stall()
        super().resume_writing()
        if self.transport.is_closing():
            self._bound_closing()

    def _cancel_stall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

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
            self._close()
            return
        body = problem_body(problem)
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[problem.status] + head + body)
        self.transport.write_eof()
        if cycle is not None:
            cycle.leave()
        self._deadline = self.loop.call_later(LINGER_S, self._close)


def ambiguity(version: str, url: bytes, headers: list[tuple[bytes, bytes]]) -> str | None:
    """Why something before us may have read this head as another request; None where nothing can have."""
    if version not in ("1.1", "1.0"):
        return "Only HTTP/1.1 is spoken here."
    if not url.startswith(b"/") and url != b"*":
        return "The request's target must be a path."
    names = [name for name, _ in headers]
    if names.count(b"host") != 1 and (version == "1.1" or b"host" in names):
        return "The request must have exactly one Host header."
    if b"connection" in names and b"upgrade" in b",".join(each_of(headers, b"connection")):
        return "Connections are not upgraded here: HTTP/1.1 alone is spoken."
    coding = each_of(headers, b"transfer-encoding") if b"transfer-encoding" in names else []
    if coding and (version == "1.0" or coding != [b"chunked"]):
        return "The only Transfer-Encoding taken is chunked."
    return None


def is_awaiting(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the caller waits to be told that its body is wanted."""
    return b"100-continue" in each_of(headers, b"expect")


def each_of(headers: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """The values of a header, in lower case."""
    return [value.lower() for each, value in headers if each == name]
