"""An engine that says whatever bytes it is told to say, and notes what becomes of its connections."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress


class Caller:
    """One connection, as the engine sees it."""

    def __init__(self, engine: "RawEngine", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.engine = engine
        self.reader = reader
        self.writer = writer
        self.number = len(engine.callers)

    async def request(self) -> bytes:
        """The body of the next request. Raises IncompleteReadError where the caller leaves."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.engine.heads.append(head)
        lines = head.lower().split(b"\r\n")
        length = next(line for line in lines if line.startswith(b"content-length:"))
        body = await self.reader.readexactly(int(length.partition(b":")[2]))
        self.engine.bodies.append(body)
        return body

    async def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def left(self) -> None:
        """Wait until the caller has closed; what it still sends is thrown away."""
        with suppress(OSError):
            while await self.reader.read(1024**2):
                pass
        self.engine.left.append(self.number)

    def reset(self) -> None:
        """Not a polite end."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Caller], Awaitable[None]]


class RawEngine:
    def __init__(self, script: Script) -> None:
        self._script = script
        self.url = ""
        self.callers: list[Caller] = []
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.left: list[int] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caller = Caller(self, reader, writer)
        self.callers.append(caller)
        with suppress(asyncio.IncompleteReadError, OSError):
            await self._script(caller)
        writer.close()


@asynccontextmanager
async def raw_engine(
    script: Script, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawEngine]:
    """`script` is run for every connection, which is closed when it ends."""
    engine = RawEngine(script)
    server = await asyncio.start_server(engine.serve, host, 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    named = f"[{host}]" if ":" in host else host
    engine.url = f"{'https' if tls else 'http'}://{named}:{port}"
    try:
        yield engine
    finally:
        server.close()
        for caller in engine.callers:
            caller.writer.transport.abort()


def saying(*pieces: bytes) -> Script:
    """Answers every request on every connection so."""

    async def script(caller: Caller) -> None:
        while True:
            await caller.request()
            await caller.say(*pieces)

    return script


def saying_once(*pieces: bytes) -> Script:
    """Answers one request on every connection so, and closes it."""

    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.say(*pieces)

    return script
