"""A client of ours and an engine that says what a test tells it to, on real sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from server.domain import Cost, Payload, ReadyRequest, Terms
from server.engines.client import EngineClient, EngineTimeouts
from server.loop_turns import LoopTurns
from server.permit import Permit, issue
from tests.fakes.raw_engine import RawEngine, Script, raw_engine

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
HELLO = OK + b"content-length: 5\r\n\r\nhello"
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
PATIENT = EngineTimeouts(5, 20, 20, 60)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@asynccontextmanager
async def client(url: str, timeouts: EngineTimeouts = PATIENT, **options: Any) -> AsyncIterator[EngineClient]:
    made = EngineClient("engine-0", url, timeouts, LoopTurns(4), **options)
    try:
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def engine_and_client(
    script: Script, timeouts: EngineTimeouts = PATIENT
) -> AsyncIterator[tuple[RawEngine, EngineClient]]:
    async with raw_engine(script) as engine, client(engine.url, timeouts) as made:
        yield engine, made


def ready(payload: Payload = (b"{}",), stream: bool = False, deadline: float | None = None) -> ReadyRequest:
    headers = {"content-type": "application/json", "x-request-id": "req-1"}
    terms = Terms(deadline=deadline)
    return ReadyRequest("chat", "demo", stream, Cost(0, 0, 0), "a", payload, headers, terms=terms)


def permit() -> Permit:
    made = issue(Cost(0, 0, 0))
    made.use()
    return made


async def ask(to: EngineClient, request: ReadyRequest | None = None) -> bytes:
    """The whole answer. A test that hangs is a failure."""
    async with asyncio.timeout(30), to.send(request or ready(), permit()) as answer:
        return b"".join([frame async for frame in answer.frames])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)
