"""RESP2, the protocol of Redis and Valkey, read with bounds: redis_line gives it to redis-py in place of its own.

Every wait ends with the deadline of the whole exchange, every length is looked at before anything is taken.
"""

import select
import time
from collections.abc import Iterator, Sequence
from typing import Any

from redis.connection import AbstractConnection
from redis.exceptions import InvalidResponse, ResponseError

# Large values have so much more than that as they would need on a slow network.
SLOWEST_BYTES_PER_S = 32 << 20
CHUNK_BYTES = 64 << 10
LONGEST_LINE = 64 << 10
MOST_ITEMS = 1 << 17
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
