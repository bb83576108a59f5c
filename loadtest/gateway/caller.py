"""Callers that cost little: requests are bytes made beforehand, answers are read and thrown away."""

import asyncio
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import httptools

SENT_AT = re.compile(rb"sent ([0-9.]+) ")


class NotAnswered(RuntimeError):
    """A request of the benchmark failed: its figures would mean nothing."""


@dataclass(slots=True)
class Reply:
    """Seconds from the first byte sent to the last received; for each streamed token, seconds since it was sent."""

    took_s: float
    delays_s: list[float] = field(default_factory=list)


class Caller(asyncio.Protocol):
    """One connection, one request at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        self._delays: list[float] = []
        self._answered: asyncio.Future[int] | None = None

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self._delays += [now - float(sent) for sent in SENT_AT.findall(data)]
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(self._parser.get_status_code())

    def connection_lost(self, problem: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(NotAnswered("the connection was closed"))

    async def ask(self, request: bytes) -> Reply:
        """Raises NotAnswered."""
        self._delays, self._parser = [], httptools.HttpResponseParser(self)
        self._answered = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        self._transport.write(request)
        status = await self._answered
        if status != 200:
            raise NotAnswered(f"status {status}")
        return Reply(time.perf_counter() - began, self._delays)

    def close(self) -> None:
        self._transport.close()


def make_request(body: bytes, key: str = "") -> bytes:
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    if key:
        head += f"authorization: Bearer {key}\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


async def closed_loop(port: int, requests: Iterable[bytes], callers: int) -> tuple[list[Reply], float]:
    """`requests` by `callers`, each sending the next when its last is answered; and the seconds that took."""
    left, replies = iter(requests), list[Reply]()

    async def call(caller: Caller) -> None:
        for request in left:
            replies.append(await caller.ask(request))

    connections = await connect(port, callers)
    began = time.perf_counter()
    await asyncio.gather(*map(call, connections))
    took_s = time.perf_counter() - began
    for connection in connections:
        connection.close()
    return replies, took_s


async def paced(port: int, request: bytes, per_s: float, until: asyncio.Future[Any]) -> int:
    """Send `per_s` requests a second, whether or not the last is answered, while `until` is not done."""
    asked: list[asyncio.Task[Reply]] = []
    callers: list[Caller] = []

    async def ask() -> Reply:
        caller = callers.pop() if callers else (await connect(port, 1))[0]
        reply = await caller.ask(request)
        callers.append(caller)
        return reply

    began = time.perf_counter()
    while not until.done():
        asked.append(asyncio.ensure_future(ask()))
        await asyncio.sleep(max(0.0, began + len(asked) / per_s - time.perf_counter()))
    await asyncio.gather(*asked)
    for caller in callers:
        caller.close()
    return len(asked)


async def connect(port: int, count: int) -> Sequence[Caller]:
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(Caller, "127.0.0.1", port) for _ in range(count)]
    return [caller for _, caller in made]
