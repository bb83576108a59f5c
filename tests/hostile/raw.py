"""Bytes as no HTTP library would send them."""

import contextlib
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass

BODY = b'{"model":"demo","messages":[{"role":"user","content":"hello"}]}'


@dataclass(frozen=True)
class Reply:
    """What came back, and whether the connection was closed behind it (by a reset, if `cut`)."""

    raw: bytes
    closed: bool
    cut: bool = False

    @property
    def status(self) -> int:
        return int(self.raw.split(b" ", 2)[1]) if self.raw.startswith(b"HTTP/1.1 ") else 0

    @property
    def statuses(self) -> list[int]:
        """Of all answers; 100 Continue is one."""
        return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) [A-Z]", self.raw)]

    @property
    def body(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[2]


def talk(address: tuple[str, int], chunks: Iterable[bytes], wait_s: float = 10, half_close: bool = False) -> Reply:
    """Send, then read until the other side closes or is silent for `wait_s`."""
    raw = b""
    with socket.create_connection(address, timeout=wait_s) as connection:
        try:
            with contextlib.suppress(BrokenPipeError):  # refused in the middle: the answer is still there
                for chunk in chunks:
                    connection.sendall(chunk)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
            while received := connection.recv(65536):
                raw += received
        except TimeoutError:
            return Reply(raw, closed=False)
        except ConnectionError:
            return Reply(raw, closed=True, cut=True)
        return Reply(raw, closed=True)


def head(*lines: bytes, start: bytes = b"POST /v1/chat/completions HTTP/1.1") -> bytes:
    """A request's head with these lines, ended; Host and Content-Type are given where no line does."""
    given = {line.partition(b":")[0].lower() for line in lines}
    usual = [b"Host: localhost", b"Content-Type: application/json"]
    usual = [line for line in usual if line.partition(b":")[0].lower() not in given]
    return b"\r\n".join([start, *usual, *lines]) + b"\r\n\r\n"


LENGTH = b"Content-Length: %d" % len(BODY)
CLOSE = b"Connection: close"
