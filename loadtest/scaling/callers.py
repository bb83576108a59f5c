"""Callers whose connections stay open from block to block, so that no block pays for their coming."""

import asyncio
from collections.abc import Iterable, Iterator

from loadtest.gateway.caller import Caller, connect, make_request
from loadtest.scaling.upstream import GO

SETTLE_S = 0.05  # for the last token to be relayed


class Callers:
    """`count` connections to one gateway; each sends the next request when its last is answered."""

    def __init__(self, runner: asyncio.Runner, port: int, count: int) -> None:
        self._runner = runner
        self._callers = runner.run(connect(port, count))

    def send(self, requests: Iterable[bytes]) -> None:
        """Raises NotAnswered."""
        self._runner.run(self._send(iter(requests)))

    async def _send(self, left: Iterator[bytes]) -> None:
        async def call(caller: Caller) -> None:
            for request in left:
                await caller.ask(request)

        await asyncio.gather(*map(call, self._callers))


class Listener(asyncio.Protocol):
    """Asks for one stream and counts what comes of it; reads nothing of that."""

    def __init__(self) -> None:
        self.began = asyncio.get_running_loop().create_future()
        self.reads = 0

    def data_received(self, data: bytes) -> None:
        self.reads += 1
        if not self.began.done():
            self.began.set_result(data.startswith(b"HTTP/1.1 200"))


class Streams:
    """`count` answers that stay under way; their tokens come when they are asked for."""

    def __init__(self, runner: asyncio.Runner, port: int, upstream: int, request: bytes, count: int) -> None:
        self._runner = runner
        self._count = count
        (self._asker,) = runner.run(connect(upstream, 1))
        self._listeners = runner.run(self._open(port, request))

    async def _open(self, port: int, request: bytes) -> list[Listener]:
        loop = asyncio.get_running_loop()
        opened = []
        for _ in range(self._count):
            transport, listener = await loop.create_connection(Listener, "127.0.0.1", port)
            transport.write(request)
            opened.append(listener)
            if len(opened) % 50 == 0:
                await asyncio.sleep(SETTLE_S)
        await asyncio.sleep(4 * SETTLE_S)
        return opened

    def send_tokens(self, count: int) -> int:
        """How many reads their callers had of them: as many, where nothing held them up."""
        before = sum(each.reads for each in self._listeners)
        self._runner.run(self._send(count))
        return sum(each.reads for each in self._listeners) - before

    async def _send(self, count: int) -> None:
        await self._asker.ask(make_request(b"%d" % count).replace(b"/v1/chat/completions", GO, 1))
        await asyncio.sleep(SETTLE_S)
