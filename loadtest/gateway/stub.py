"""An upstream that costs almost nothing: it reads bodies without keeping them and answers like an engine.

What it does is in the first bytes of a body: `"stream":true` gets TOKENS server-sent events PAUSE_S apart, each
with the time at which it was sent; the model `held` is answered HOLD_S after its body has come.
"""

import asyncio
import json
import time
from typing import cast

import httptools
import uvloop

TOKENS = 200
PAUSE_S = 0.01
HOLD_S = 1.0
MODELS = ("demo", "held")
LOOKED_AT_BYTES = 4096

CARDS = [{"id": model, "object": "model", "max_model_len": 1_000_000} for model in MODELS]
MESSAGE = {"role": "assistant", "content": "a red circle"}
ANSWER = {
    "id": "chatcmpl-stub",
    "object": "chat.completion",
    "created": 1,
    "model": "demo",
    "choices": [{"index": 0, "message": MESSAGE, "logprobs": None, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 20, "completion_tokens": 3, "total_tokens": 23},
}


def whole(body: object) -> bytes:
    data = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(data), data)


REPLIES = {b"/health": whole({}), b"/v1/models": whole({"object": "list", "data": CARDS})}
REPLY = whole(ANSWER)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def event(token: int) -> bytes:
    """A chunk with one server-sent event."""
    data = b'data: {"token": %d, "sent": %.6f}\n\n' % (token, time.perf_counter())
    return b"%x\r\n%s\r\n" % (len(data), data)


class Connection(asyncio.Protocol):
    """One caller; requests on a connection come one after another."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        self._parser = httptools.HttpRequestParser(self)
        self._streams: set[asyncio.Task[None]] = set()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path, self._start = url, b""

    def on_body(self, body: bytes) -> None:
        if len(self._start) < LOOKED_AT_BYTES:
            self._start += body[:LOOKED_AT_BYTES]

    def on_message_complete(self) -> None:
        start = self._start.replace(b" ", b"")
        if b'"stream":true' in start:
            streaming = asyncio.ensure_future(self._stream())
            self._streams.add(streaming)
            streaming.add_done_callback(self._streams.discard)
        elif b'"model":"held"' in start:
            asyncio.get_running_loop().call_later(HOLD_S, self._send, REPLY)
        else:
            self._send(REPLIES.get(self._path, REPLY))

    async def _stream(self) -> None:
        self._send(STREAM_HEAD)
        due = time.perf_counter()
        for token in range(TOKENS):
            due += PAUSE_S
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            self._send(event(token))
        end = b"data: [DONE]\n\n"
        self._send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(end), end))

    def _send(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
