"""A thousand streams open at once through one gateway process: what memory they take, and that all of them end."""

import asyncio
import json
import re
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from demo.processes import Running, running
from server.together import free_port
from tests.fakes.engine import FakeEngine
from tests.fakes.serve import serving
from tests.pictures import chat, image_part, noise

STREAMS, MOST_BYTES = 1000, 400 * 10**6
BODY = json.dumps(chat(image_part(noise("JPEG", (640, 480))), stream=True)).encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
REQUEST = HEAD + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(BODY) + BODY


@pytest.fixture
def many_files() -> Iterator[None]:
    """Callers and engine are both in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4 * STREAMS, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def resident(process: Running) -> int:
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{process.process.pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found.group(1)) * 1024


async def open_stream(port: int, turn: asyncio.Semaphore) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with turn:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        head = await reader.readuntil(b"\n\n")
        assert head.startswith(b"HTTP/1.1 200"), head[:300]
        return reader, writer


async def last_event(stream: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bytes:
    reader, writer = stream
    rest = await reader.read(-1)
    writer.close()
    return rest


async def test_a_thousand_streams_take_no_more_than_they_may_and_all_end(many_files: None) -> None:
    engine, port = FakeEngine(), free_port()
    engine.go.clear()
    options = {"FOVEA_ADMISSION__MAX_RUNNING": str(STREAMS), "FOVEA_ENGINES__POLL_S": "0.2"}
    with (
        serving(engine.app) as engine_url,
        running("server", "gateway", "--engine", engine_url, "--port", str(port), **options) as gateway,
    ):
        deadline = time.monotonic() + 30
        while not is_ready(port):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        turn = asyncio.Semaphore(50)
        streams = await asyncio.gather(*(open_stream(port, turn) for _ in range(STREAMS)))
        assert len(engine.chats) == STREAMS
        assert resident(gateway) < MOST_BYTES
        engine.go.set()
        ends = await asyncio.gather(*map(last_event, streams))
        assert sum(b"data: [DONE]" in end for end in ends) == STREAMS
        assert resident(gateway) < MOST_BYTES


def is_ready(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).status_code == 200
    except httpx2.TransportError:
        return False
