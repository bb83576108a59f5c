"""One connection to Redis or Valkey for large values, every wait and every reply bounded. Below redis_tier.

redis-py knows URLs, TLS and passwords; its own parsers would take whatever length a reply says it has, for as long
as bytes trickle in. Ours reads RESP2 with a deadline for the whole exchange, and a value into one buffer.
"""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis.connection import Connection, parse_url
from redis.exceptions import InvalidResponse, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

from server.engine.encoder_cache.resp import CHUNK_BYTES, BoundedParser, Command, LineLost, Piece, packed

CONNECT_S = 0.2
EXCHANGE_S = 1.0
CODES = frozenset(
    "ask busy clusterdown crossslot err loading masterdown misconf moved noauth noperm noreplicas noscript oom "
    "readonly tryagain wrongpass wrongtype".split()
)
# What the URL may say besides where and as whom: TLS. All else is ours to set.
URL_OPTIONS = ("host", "port", "path", "db", "username", "password", "connection_class")


@contextmanager
def line_errors() -> Iterator[None]:
    """The only place where redis-py's errors and the socket's become ours. Their texts may quote what was sent."""
    try:
        yield
    except ResponseError as problem:
        raise LineLost(code_of(problem)) from None
    except InvalidResponse as problem:
        raise LineLost("protocol") from problem
    except (TimeoutError, RedisTimeout) as problem:
        raise LineLost("timeout") from problem
    except MemoryError as problem:
        raise LineLost("memory") from problem
    except (RedisError, OSError) as problem:
        of_tls = isinstance(problem, ssl.SSLError) or isinstance(problem.__context__, ssl.SSLError)
        raise LineLost("tls" if of_tls else "connection") from problem


def code_of(problem: ResponseError) -> str:
    """An error's first word, where it is one that there is: whatever else a store says is fit for no label."""
    word = str(problem).partition(" ")[0].lower()
    return word if word in CODES else "error"


class RedisLine:
    """Not used again once LineLost was raised: replies would be another command's."""

    def __init__(self, url: str, most_bytes: int) -> None:
        """`url` was seen to be good by `check_url`."""
        options = connection_options(url)
        connection_class = options.pop("connection_class", Connection)
        self._parser = BoundedParser(most_bytes)
        self._connection = connection_class(
            **options,
            parser_class=lambda socket_read_size: self._parser,
            socket_connect_timeout=CONNECT_S,
            socket_timeout=EXCHANGE_S,
            protocol=2,
            driver_info=None,
        )

    def open(self) -> None:
        """Raises LineLost, also where the password is refused."""
        with line_errors():
            self._parser.give(EXCHANGE_S)
            self._connection.connect()

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """The replies in order; a refusal is among them as a ResponseError. Raises LineLost."""
        with line_errors():
            self._parser.give(EXCHANGE_S)
            for piece in packed(commands):
                self._send(piece)
            self._parser.give(EXCHANGE_S)
            return [self._parser.read_response() for _ in commands]

    def is_quiet(self) -> bool:
        """Nothing came while it was idle: neither its end nor a reply that nobody asked for."""
        return not self._parser.can_read()

    def _send(self, piece: Piece) -> None:
        """In chunks: a socket of TLS has its time anew for each of its records."""
        view = memoryview(piece)
        self._parser.extend(len(view))
        for at in range(0, len(view), CHUNK_BYTES):
            self._parser.arm()
            self._connection.send_packed_command([view[at : at + CHUNK_BYTES]], check_health=False)

    def close(self) -> None:
        with line_errors():
            self._connection.disconnect()


def connection_options(url: str) -> dict[str, Any]:
    """Raises ValueError, whose text does not quote the URL: it may hold a password."""
    try:
        options: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
    except (ValueError, TypeError):
        raise ValueError("the shared tier's URL cannot be read") from None
    unknown = [name for name in options if name not in URL_OPTIONS and not name.startswith("ssl_")]
    if unknown:
        raise ValueError(f"the shared tier's URL may say nothing of {', '.join(sorted(unknown))}")
    return options


def check_url(url: str) -> None:
    """Raises ValueError for a URL that no connection could be made of. Connects to nothing."""
    try:
        RedisLine(url, 0)
    except (TypeError, RedisError, OSError) as problem:
        raise ValueError(f"the shared tier's URL cannot be used: {type(problem).__name__}") from None
