"""The connections to one engine: dialled when none is idle, kept for a moment, the latest used first."""

import asyncio
import socket
from functools import partial
from ipaddress import ip_address

from server.engines.http.address import EngineAddress
from server.engines.http.connection import Connection
from server.engines.http.failures import NotConnected, OutOfTime, Phase

# vLLM closes a connection that was idle for 5 s (VLLM_HTTP_TIMEOUT_KEEP_ALIVE), perhaps with a request on its way.
KEEP_IDLE_S = 3
MOST_IDLE = 512
# A name may lead elsewhere after that.
KEEP_ADDRESSES_S = 5


class Connections:
    """As many are open as requests are under way, and at most MOST_IDLE more."""

    def __init__(self, address: EngineAddress, connect_s: float) -> None:
        self._address = address
        self._connect_s = connect_s
        self._loop = asyncio.get_running_loop()
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._hosts: list[str] = [address.host] if is_literal(address.host) else []
        self._looked_up = float("-inf")
        self._closed = False

    def take(self) -> Connection | None:
        """An idle one that the engine will not have closed yet."""
        oldest = self._loop.time() - KEEP_IDLE_S
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and connection.idle_since >= oldest:
                return connection
            connection.abort()
        return None

    def give_back(self, connection: Connection) -> None:
        """Keep it, if another request may be sent over it; otherwise it is cut off at once."""
        if not connection.release():
            return
        if self._closed or len(self._idle) >= MOST_IDLE:
            connection.abort()
            return
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = self._loop.call_later(KEEP_IDLE_S, self._sweep_idle)

    async def dial(self, end: float, whose: Phase) -> Connection:
        """A new one, before `end` of the loop's clock. Raises NotConnected, OutOfTime."""
        self._check_open()
        phase, due = min(
            (Phase.CONNECT, self._loop.time() + self._connect_s), (whose, end), key=lambda each: each[1]
        )
        try:
            async with asyncio.timeout_at(due):
                connection = await self._connect(due)
        except TimeoutError:
            raise OutOfTime(phase) from None
        except OSError as problem:
            raise NotConnected(type(problem).__name__) from problem
        try:
            self._check_open()
        except NotConnected:
            connection.abort()
            raise
        return connection

    def close(self) -> None:
        """Cut off all of them, with what they carry."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self._open):
            connection.abort()

    def _check_open(self) -> None:
        if self._closed:
            raise NotConnected("closed here")

    async def _connect(self, due: float) -> Connection:
        """To the first address that takes us, none of which may use up the time of the others."""
        hosts = await self._resolve()
        failure: OSError = OSError("no address")
        for number, host in enumerate(hosts):
            share = (due - self._loop.time()) / (len(hosts) - number)
            try:
                async with asyncio.timeout(share):
                    _, connection = await self._loop.create_connection(
                        partial(Connection, self._loop, self._open),
                        host,
                        self._address.port,
                        ssl=self._address.tls,
                        server_hostname=self._address.host if self._address.tls else None,
                    )
                return connection
            except OSError as problem:
                failure = problem
        self._looked_up = float("-inf")
        try:
            raise failure
        finally:
            del failure  # its traceback holds this frame

    async def _resolve(self) -> list[str]:
        """The engine's addresses, in the resolver's order, looked up in a thread."""
        if is_literal(self._address.host) or self._loop.time() - self._looked_up < KEEP_ADDRESSES_S:
            return self._hosts
        found = await self._loop.getaddrinfo(self._address.host, self._address.port, type=socket.SOCK_STREAM)
        self._hosts = list(dict.fromkeys(str(address[0]) for *_, address in found))
        self._looked_up = self._loop.time()
        return self._hosts

    def _sweep_idle(self) -> None:
        """Close those that have become too old; the oldest come first."""
        self._sweep = None
        oldest = self._loop.time() - KEEP_IDLE_S
        fresh = [each for each in self._idle if not each.closed and each.idle_since > oldest]
        for connection in set(self._idle) - set(fresh):
            connection.abort()
        self._idle = fresh
        if fresh:
            self._sweep = self._loop.call_at(fresh[0].idle_since + KEEP_IDLE_S, self._sweep_idle)


def is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
