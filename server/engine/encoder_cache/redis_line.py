"""One connection to Redis or Valkey for large values, every wait and every reply bounded. Below redis_tier.

redis-py knows URLs, TLS and passwords; its own parsers would take whatever length a reply says it has, for as long
as bytes trickle in. Ours reads RESP2 with a deadline for the whole exchange, and a value into one buffer.
"""

import select
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis.connection import AbstractConnection, Connection, parse_url
from redis.exceptions import InvalidResponse, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

CONNECT_S = 0.2
EXCHANGE_S = 1.0
# Large values have so much more than that as they would need on a slow network.
SLOWEST_BYTES_PER_S = 32 << 20
CHUNK_BYTES = 64 << 10
LONGEST_LINE = 64 << 10
MOST_ITEMS = 1 << 17
# What the URL may say besides where and as whom: TLS. All else is ours to set.
URL_OPTIONS = ("host", "port", "path", "db", "username", "password", "connection_class")

Piece = bytes | bytearray | memoryview
# An argument may be a tuple of pieces, which are one value on the wire.
Command = Sequence[Piece | tuple[Piece, ...]]


class LineLost(Exception):
    """The store cannot be asked now. `reason` is one of a few words or an error's code, fit for logs."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TooLarge(LineLost):
    """A value was longer than is ever taken. The connection is gone with it: nothing was read."""

    def __init__(self) -> None:
        super().__init__("large")


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
    """OOM, READONLY, NOAUTH, ...: an error's first word, where it is one, and no longer than codes are."""
    word = str(problem).partition(" ")[0]
    return word.lower() if word.isalpha() and word.isupper() and len(word) <= 16 else "error"


class BoundedParser:
    """What redis-py asks of a parser. Errors are returned, as redis-py's parsers do, for the caller to raise."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._socket: Any = None
        self._buffer = b""
        self._deadline = 0.0

    def give(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds

    def extend(self, length: int) -> None:
        self._deadline += length / SLOWEST_BYTES_PER_S

    def arm(self) -> None:
        """The socket's next wait ends with what is left. Raises TimeoutError where nothing is."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if self._socket is not None:
            self._socket.settimeout(left)

    def on_connect(self, connection: AbstractConnection) -> None:
        self._socket = connection._sock
        self._buffer = b""

    def on_disconnect(self) -> None:
        self._socket = None
        self._buffer = b""

    def can_read(self, timeout: float = 0) -> bool:
        """Also where what there is to read is the end."""
        if self._buffer or self._socket is None:
            return True
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        return bool(waiting.poll(timeout * 1000))

    def read_response(self, disable_decoding: bool = False, timeout: object = None) -> Any:
        """Raises TimeoutError, OSError, InvalidResponse or TooLarge."""
        return self._read(inside=False)

    def _read(self, inside: bool) -> Any:
        """None of our replies is an array in an array."""
        line = self._read_line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            return ResponseError(rest.decode("utf-8", "replace"))
        number = parse_number(rest)
        if kind == b":":
            return number
        if kind == b"$":
            return None if number == -1 else self._read_bulk(number)
        if kind == b"*" and 0 <= number <= MOST_ITEMS and not inside:
            return [self._read(inside=True) for _ in range(number)]
        raise InvalidResponse("not RESP2")

    def _read_line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > LONGEST_LINE:
                raise InvalidResponse("a line without an end")
            self._buffer += self._receive()
        line, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
        return line

    def _receive(self) -> bytes:
        self.arm()
        received: bytes = self._socket.recv(CHUNK_BYTES)
        if not received:
            raise ConnectionResetError
        return received

    def _read_bulk(self, length: int) -> memoryview:
        if not 0 <= length <= self._most_bytes:
            raise TooLarge if length > 0 else InvalidResponse("a negative length")
        self.extend(length)
        whole = bytearray(length + 2)
        view = memoryview(whole)
        at = min(len(self._buffer), len(whole))
        view[:at], self._buffer = self._buffer[:at], self._buffer[at:]
        while at < len(whole):
            self.arm()
            count = self._socket.recv_into(view[at:])
            if not count:
                raise ConnectionResetError
            at += count
        if whole[length:] != b"\r\n":
            raise InvalidResponse("a value without an end")
        return view[:length]


def parse_number(text: bytes) -> int:
    """Raises InvalidResponse for what int() takes and RESP does not: spaces, underscores, a thousand digits."""
    digits = text.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 19:
        raise InvalidResponse("not a number")
    return int(text)


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
            replies = [self._parser.read_response() for _ in commands]
            if self._parser.can_read():
                raise InvalidResponse("more replies than commands")
            return replies

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


def packed(commands: Sequence[Command]) -> Iterator[Piece]:
    """RESP's bytes; large pieces are not copied."""
    small = bytearray()
    for command in commands:
        small += b"*%d\r\n" % len(command)
        for argument in command:
            pieces = argument if isinstance(argument, tuple) else (argument,)
            small += b"$%d\r\n" % sum(len(piece) for piece in pieces)
            for piece in pieces:
                if len(piece) < CHUNK_BYTES:
                    small += piece
                else:
                    yield small
                    yield piece
                    small = bytearray()
            small += b"\r\n"
    yield small


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
