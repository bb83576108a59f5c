"""What one more open stream takes of a gateway: the real process, its memory read from the kernel."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loadtest.gateway.processes import Gateway, gateway

BODY = json.dumps({"model": "demo", "stream": True, "messages": [{"role": "user", "content": "hi"}]}).encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
REQUEST = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
MOST_MB = 0.1  # 0.03 seen
WARM_UP, MEASURED = 50, 250


def whole(body: object) -> bytes:
    data = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(data), data)


CARDS = whole({"data": [{"id": "demo", "max_model_len": 4096}]})
CHUNK = b'data: {"choices":[]}\n\n'
BEGUN = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
BEGUN += b"%x\r\n%s\r\n" % (len(CHUNK), CHUNK)


class OpenStreams(asyncio.Protocol):
    """An upstream whose streams begin, and stay. A thousand of the fake engine's would keep a CPU busy."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"POST /v1/chat"):
            self._transport.write(BEGUN)
        elif data.startswith((b"GET ", b"POST ")):
            self._transport.write(CARDS if b"/v1/models" in data else whole({}))


@contextmanager
def upstream() -> Iterator[int]:
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(OpenStreams, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def measure(started: Gateway) -> tuple[float, float]:
    """Resident MB with few streams open, and with many more."""
    opened = []

    async def open_streams(count: int) -> float:
        for _ in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", started.port)
            writer.write(REQUEST)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            opened.append(writer)
        return float(started.tell()["resident_mb"])

    return await open_streams(WARM_UP), await open_streams(MEASURED)


def test_each_open_stream_takes_less_than_100_kb() -> None:
    with upstream() as engine, gateway(Path.cwd(), engine, {}, FOVEA_ADMISSION__MAX_RUNNING="1000") as started:
        before, after = asyncio.run(measure(started))
    each_mb = (after - before) / MEASURED
    assert each_mb > 0.001  # they were held: connections, requests, and the engine's side of each
    assert each_mb < MOST_MB
