"""One connection to Redis or Valkey, by redis-py's own; its errors, and nobody else's, become `StoreLost`.

Below redis-py's client: that takes a connection from a pool for each command, which costs twice the CPU.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from server.admission.limits.store_line import Command, StoreLost
from server.errors import ConfigError


@contextmanager
def store_errors() -> Iterator[None]:
    """Their texts may quote what was sent; of a reply that is an error, its code alone is told (READONLY, OOM)."""
    try:
        yield
    except ResponseError as problem:
        raise StoreLost("refused", str(problem).partition(" ")[0] if problem.args else "") from problem
    except (RedisError, OSError) as problem:
        raise StoreLost("connection", type(problem).__name__) from problem


class RedisConnection:
    """Not used again once anything has failed on it: replies would be another request's."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]

    async def open(self) -> None:
        with store_errors():
            await self._connection.connect()  # type: ignore[no-untyped-call]

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """All of them in one write; their replies in order."""
        connection = self._connection
        with store_errors():
            await connection.send_packed_command(connection.pack_commands(commands))
            return [await connection.read_response() for _ in commands]

    async def close(self) -> None:
        with store_errors():
            await self._connection.disconnect(nowait=True)


class RedisConnections:
    """Makes them, all to one place. Raises ConfigError, which does not quote the URL: it may hold a password."""

    def __init__(self, url: str) -> None:
        try:
            self._pool = ConnectionPool.from_url(
                url, retry=Retry(NoBackoff(), 0), socket_timeout=None, health_check_interval=0, protocol=2
            )
            self._pool.make_connection()  # type: ignore[no-untyped-call]
        except (ValueError, TypeError, RedisError) as problem:
            raise ConfigError(f"limits.store_url cannot be used: {type(problem).__name__}") from None

    def __call__(self) -> RedisConnection:
        return RedisConnection(self._pool)
