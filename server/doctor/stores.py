"""Redis or Valkey, asked by a few commands of its protocol: no client of it needs to be installed."""

import socket
import ssl
import time
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from server.doctor.finding import Finding, failure, ok, warning

TIMEOUT_S = 5.0
MOST_REPLY_BYTES = 4096
MOST_SKEW_S = 2.0


class Refused(Exception):
    """The store says no: its error's first word."""


class Store:
    """One connection. Raises OSError, Refused; no word of a URL, which may hold a password, is in either."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        host, port = parts.hostname or "localhost", parts.port or 6379
        plain = socket.create_connection((host, port), timeout=TIMEOUT_S)
        if parts.scheme == "rediss":
            self._socket: socket.socket = ssl.create_default_context().wrap_socket(plain, server_hostname=host)
        else:
            self._socket = plain
        self._replies = self._socket.makefile("rb")
        if parts.password is not None:
            user = (unquote(parts.username),) if parts.username else ()
            self.ask("AUTH", *user, unquote(parts.password))

    def close(self) -> None:
        self._replies.close()
        self._socket.close()

    def ask(self, *words: str) -> list[bytes]:
        pieces = [word.encode() for word in words]
        self._socket.sendall(b"*%d\r\n" % len(pieces) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in pieces))
        return self._reply()

    def _reply(self) -> list[bytes]:
        line = self._replies.readline(MOST_REPLY_BYTES)
        if not line.endswith(b"\r\n"):
            raise ConnectionError(0, "it closed the connection, or speaks another protocol")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise Refused(rest.split()[0].decode(errors="replace") if rest.split() else "an error")
        if kind == b"$":
            return [self._replies.read(min(int(rest), MOST_REPLY_BYTES) + 2)[:-2]]
        if kind == b"*":
            return [piece for _ in range(min(int(rest), 16)) for piece in self._reply()]
        return [rest]


def check_store(what: str, url: str) -> Iterator[Finding]:
    parts = urlsplit(url)
    where = f"{parts.hostname}:{parts.port or 6379}"
    try:
        store = Store(url)
        try:
            answer = store.ask("PING")
            seconds = float(store.ask("TIME")[0])
        finally:
            store.close()
    except Refused as problem:
        do = "set user and password in the URL" if str(problem) in ("NOAUTH", "WRONGPASS") else "look at its log"
        yield failure(what, f"{where} refuses: {problem}", do)
        return
    except (OSError, ValueError, IndexError) as problem:
        told = getattr(problem, "strerror", None) or type(problem).__name__
        yield failure(
            what, f"{where} cannot be asked: {told}", "see that it runs, and that its port can be reached"
        )
        return
    if answer != [b"PONG"]:
        yield failure(what, f"{where} answers, and is no Redis or Valkey", "look at the URL")
        return
    yield ok(what, f"{where} answers")
    skew = abs(time.time() - seconds)
    if skew > MOST_SKEW_S:
        yield warning(what, f"its clock and ours are {skew:.0f} s apart", "run NTP on both machines")
