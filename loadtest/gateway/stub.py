"""An upstream that costs almost nothing: it reads bodies without keeping them and answers like an engine.

What it does is in the first bytes of a body: `"stream":true` gets TOKENS server-sent events PAUSE_S apart, each
with the time at which it was sent, together with all other streams, as an engine's batch does; who asks it to take
its time is answered HOLD_S after the body has come. At LEFT it says whose connections ended before their answers
did, and when. Requests are read by hand, since every gateway is compared over
the same core that this one has: httptools only sees chunked ones.
"""

import asyncio
import itertools
import json
import re
import time
from collections import deque
from typing import cast

import httptools
import uvloop

TOKENS = 200
PAUSE_S = 0.01
HOLD_S = 1.0
LOOKED_AT_BYTES = 4096
READ_BYTES = 1024 * 1024
LEFT, MOST_LEFT = b"/left", 4096

CARD = {"id": "demo", "object": "model", "created": 1, "owned_by": "vllm", "max_model_len": 1_000_000}
MESSAGE = {"role": "assistant", "content": "a red circle"}
ANSWER = {
    "id": "chatcmpl-stub",
    "object": "chat.completion",
    "created": 1,
    "model": "demo",
    "choices": [{"index": 0, "message": MESSAGE, "logprobs": None, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 20, "completion_tokens": 3, "total_tokens": 23},
}


def whole(body: object, kind: bytes = b"application/json") -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s" % (kind, len(data), data)


# Other gateways ask who the engine is before they send it anything.
REPLIES = {
    b"/health": whole({}),
    b"/health_generate": whole({}),
    b"/metrics": whole(b"vllm:num_requests_running 0\nvllm:num_requests_waiting 0\n", b"text/plain"),
    b"/version": whole({"version": "0.32.0"}),
    b"/v1/models": whole({"object": "list", "data": [CARD]}),
    b"/get_model_info": whole({"model_path": "demo", "served_model_name": "demo", "is_generation": True}),
    b"/model_info": whole({"model_path": "demo", "served_model_name": "demo", "is_generation": True}),
    b"/get_server_info": whole({"model_path": "demo", "served_model_name": "demo", "version": "0.32.0"}),
    b"/server_info": whole({"model_path": "demo", "served_model_name": "demo", "version": "0.32.0"}),
}
REPLY = whole(ANSWER)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNK = b'{"id":"chatcmpl-stub","object":"chat.completion.chunk","created":1,"model":"demo","choices":[{"index":0,'
# In the question, which stands before the picture however a gateway orders what is around it.
HOLD = b"Take your time."
LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


def event(token: int) -> bytes:
    """A chunk with one server-sent event, of vLLM's form, so that a gateway which parses it can."""
    sent = b"%d sent %.6f " % (token, time.perf_counter())
    return chunk(CHUNK + b'"delta":{"content":"%s"},"logprobs":null,"finish_reason":null}]}' % sent)


def chunk(data: bytes) -> bytes:
    data = b"data: " + data + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


LAST = chunk(CHUNK + b'"delta":{},"logprobs":null,"finish_reason":"stop"}]}') + chunk(b"[DONE]") + b"0\r\n\r\n"


class Connection(asyncio.BufferedProtocol):
    """One caller; requests on a connection come one after another."""

    # One for all: what is read is looked at at once, and kept by nobody.
    _room = bytearray(READ_BYTES)

    def __init__(self, pace: "Pace") -> None:
        self._pace, self._tokens = pace, 0
        self._held: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        self._head, self._path, self._start, self._left = b"", b"", b"", 0
        self._parser: httptools.HttpRequestParser | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._tokens or self._held is not None:
            self._pace.left.append(time.perf_counter())
            self._pace.under_way -= 1
        if self._held is not None:
            self._held.cancel()

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._room

    def buffer_updated(self, size: int) -> None:
        if self._left and len(self._start) >= LOOKED_AT_BYTES:
            self._left -= size  # the most of a large body: not even copied
        else:
            self._read(bytes(memoryview(self._room)[:size]))
        if self._path and not self._left and self._parser is None:
            self._answer()

    def _read(self, data: bytes) -> None:
        if self._parser is not None:
            self._parser.feed_data(data)
            return
        if not self._left:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            head, data, self._head = self._head[: end + 2], self._head[end + 4 :], b""
            self._path, self._start = head.split(b" ", 2)[1].partition(b"?")[0], b""
            if CHUNKED.search(head):
                self._parser = httptools.HttpRequestParser(self)
                self._parser.feed_data(head + b"\r\n" + data)
                return
            length = LENGTH.search(head)
            self._left = int(length[1]) if length else 0
        self._left -= len(data)
        if len(self._start) < LOOKED_AT_BYTES:
            self._start += data[:LOOKED_AT_BYTES]

    def on_body(self, body: bytes) -> None:
        if len(self._start) < LOOKED_AT_BYTES:
            self._start += body[:LOOKED_AT_BYTES]

    def on_message_complete(self) -> None:
        self._parser = None

    def _answer(self) -> None:
        start, path, self._path = self._start, self._path, b""
        if len(start) > 1 and b'"stream":true' in start.replace(b" ", b""):
            self._send(STREAM_HEAD)
            self._tokens = TOKENS
            self._pace.streams.append(self)
            self._pace.under_way += 1
        elif HOLD in start:
            self._held = asyncio.get_running_loop().call_later(HOLD_S, self._end_hold)
            self._pace.under_way += 1
        elif path == LEFT:
            self._send(whole(self._pace.tell()))
        else:
            self._send(REPLIES.get(path, REPLY))

    def token(self, data: bytes) -> bool:
        """Whether more are to come, after this one."""
        self._send(data)
        self._tokens -= 1
        if not self._tokens:
            self._pace.under_way -= 1
            self._send(LAST)
        return self._tokens > 0 and not self._transport.is_closing()

    def _end_hold(self) -> None:
        self._held = None
        self._pace.under_way -= 1
        self._send(REPLY)

    def _send(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)


class Pace:
    """All answers under way get their next tokens together, as an engine's batch does."""

    def __init__(self) -> None:
        self.streams: list[Connection] = []
        self.under_way = 0
        self.left: deque[float] = deque(maxlen=MOST_LEFT)

    def tell(self) -> dict[str, object]:
        """Answers that are under way now; when callers have left others, since this was last told."""
        told: dict[str, object] = {"under_way": self.under_way, "left": [*self.left]}
        self.left.clear()
        return told

    async def keep(self) -> None:
        due = time.perf_counter()
        for number in itertools.count():
            due += PAUSE_S
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            self.streams = [stream for stream in self.streams if stream.token(event(number))]


async def serve() -> None:
    pace = Pace()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(pace), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.gather(server.serve_forever(), pace.keep())


if __name__ == "__main__":
    uvloop.run(serve())
