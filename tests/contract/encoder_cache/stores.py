"""Stores that are none: one that says what a test tells it to, and one that real ones are behind, over TLS."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

Answer = bytes | None


class FakeStore:
    """Answers each command with what `answer` gives: bytes, or None to hang, b"" to close. Takes any script."""

    def __init__(self, answer: Callable[[list[bytes]], Answer], drip: bool = False, most: int = 0) -> None:
        """`most` commands are read on a connection, if given, and no byte of another."""
        self._answer = answer
        self._most = most
        self._drip = drip
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._ended = threading.Event()
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        self.accepted = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                self.accepted += 1
                self._open.append(accepted)
                threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, ValueError), connection, connection.makefile("rb", buffering=64) as reader:
            left = self._most
            while head := reader.readline():
                command = []
                for _ in range(int(head[1:])):
                    length = int(reader.readline()[1:])
                    command.append(reader.read(length + 2)[:-2])
                answer = b"+OK\r\n" if command[0] == b"SCRIPT" else self._answer(command)
                if answer is None:
                    self._ended.wait()
                elif not answer:
                    return
                elif self._drip and command[0] != b"SCRIPT":
                    for byte in answer:
                        connection.sendall(bytes([byte]))
                        if self._ended.wait(0.2):
                            return
                else:
                    connection.sendall(answer)
                left -= 1
                if not left:
                    self._ended.wait()


@contextmanager
def relayed_over_tls(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """The port at which the server of `port` is spoken to over TLS."""

    def carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                plain, _ = listener.accept()
                with suppress(OSError):
                    outer = context.wrap_socket(plain, server_side=True)
                    inner = socket.create_connection(("127.0.0.1", port))
                    for pair in ((outer, inner), (inner, outer)):
                        threading.Thread(target=carry, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
