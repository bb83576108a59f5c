"""Callers that cost a fraction of what any gateway does: one connection each, answers counted, not kept.

Where a C program would be needed to outrun a gateway, what that gateway could do is read off its CPU instead.
"""

import asyncio
import re
import time
from typing import cast

from loadtest.gateway.caller import NotAnswered

LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
END_OF_CHUNKS = b"0\r\n\r\n"


class Loop:
    """All callers of one closed loop: each asks anew when it was answered, until the time is over."""

    def __init__(self, request: bytes, seconds: float) -> None:
        self.request = request
        self.took_s: list[float] = []
        self.over = asyncio.get_running_loop().create_future()
        self._asking = 0
        self.until = time.perf_counter() + seconds

    def begin(self, callers: "list[LeanCaller]") -> None:
        self._asking = len(callers)
        for caller in callers:
            caller.ask()

    def answered(self, caller: "LeanCaller", took_s: float) -> None:
        self.took_s.append(took_s)
        if time.perf_counter() < self.until:
            caller.ask()
            return
        self._asking -= 1
        if not self._asking and not self.over.done():
            self.over.set_result(None)

    def failed(self, why: str) -> None:
        if not self.over.done():
            self.over.set_exception(NotAnswered(why))


class LeanCaller(asyncio.Protocol):
    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._head, self._tail, self._left, self._chunked = b"", b"", 0, False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only

    def ask(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(self._loop.request)

    def data_received(self, data: bytes) -> None:
        if self._chunked:
            self._tail = (self._tail + data)[-len(END_OF_CHUNKS) :]
        elif self._left:
            self._left -= len(data)
        else:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            head, data, self._head = self._head[: end + 2], self._head[end + 4 :], b""
            if head[9:12] != b"200":
                self._loop.failed(f"status {head[9:12].decode()}")
                return
            length = LENGTH.search(head)
            if length:
                self._left = int(length[1]) - len(data)
            else:
                self._chunked, self._tail = True, data[-len(END_OF_CHUNKS) :]
        if self._chunked:
            if self._tail != END_OF_CHUNKS:
                return
            self._chunked = False
        if not self._left:
            self._loop.answered(self, time.perf_counter() - self._began)

    def connection_lost(self, problem: Exception | None) -> None:
        self._loop.failed("the connection was closed")

    def close(self) -> None:
        self._transport.close()


async def closed_loop(port: int, request: bytes, connections: int, seconds: float) -> tuple[list[float], float]:
    """Seconds that each request took, and all of them. Every request that was begun is answered. Raises
    NotAnswered."""
    loop = Loop(request, seconds)
    made = [
        await asyncio.get_running_loop().create_connection(lambda: LeanCaller(loop), "127.0.0.1", port)
        for _ in range(connections)
    ]
    callers = [caller for _, caller in made]
    began = time.perf_counter()
    loop.until = began + seconds
    loop.begin(callers)
    await loop.over
    took_s = time.perf_counter() - began
    for caller in callers:
        caller.close()
    return loop.took_s, took_s
