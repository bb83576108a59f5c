"""Hosts of pictures that follow no rules: what each path of theirs sends, byte by byte."""

import contextlib
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

# Bytes are sent, numbers are seconds to wait; the connection is closed at the end.
Script = Iterable[bytes | float]


@dataclass
class Host:
    """Where it listens, and every request that it was sent."""

    port: int
    asked: list[bytes] = field(default_factory=list)

    def url(self, path: str, name: str = "pictures.example") -> str:
        return f"https://{name}:{self.port}/{path}"


class Server(ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64


@contextmanager
def listening(scripts: Mapping[str, Any], context: ssl.SSLContext | None) -> Iterator[Host]:
    """`scripts` maps a path to a script, or to a function that makes one of the host's port."""
    host = Host(0)

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                connection = self.request
                if context is not None:
                    connection = context.wrap_socket(connection, server_side=True)
                try:
                    while self.answer(connection):
                        pass
                finally:
                    connection.close()

        def answer(self, connection: Any) -> bool:
            """Whether the connection may be used for another request."""
            asked = b""
            while b"\r\n\r\n" not in asked:
                received = connection.recv(65536)
                if not received:
                    return False
                asked += received
            host.asked.append(asked)
            path = asked.split(b" ", 2)[1].decode().partition("?")[0].removeprefix("/")
            script = scripts.get(path, [b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"])
            for step in script(host.port) if callable(script) else script:
                if isinstance(step, bytes):
                    connection.sendall(step)
                else:
                    time.sleep(step)
            return path.startswith("kept")

    with Server(("127.0.0.1", 0), Handler) as server:
        host.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield host
        finally:
            server.shutdown()
            thread.join(5)
