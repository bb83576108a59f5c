"""An OCI registry in memory: as much of the distribution API as push and pull need.

(https://github.com/opencontainers/distribution-spec)
"""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeRegistry:
    """What it holds; `corrupt` names a digest whose blob it says that it never got."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.uploads = 0
        self.lost: set[str] = set()
        self.host = ""


@contextmanager
def serving() -> Iterator[FakeRegistry]:
    registry = FakeRegistry()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def do_HEAD(self) -> None:
            digest = self.path.rpartition("/")[2]
            self.answer(200 if digest in registry.blobs and digest not in registry.lost else 404)

        def do_POST(self) -> None:
            self.body()
            self.answer(202, Location=f"{self.path}session")

        def do_PUT(self) -> None:
            data = self.body()
            if "/manifests/" in self.path:
                registry.manifests[self.path.rpartition("/")[2]] = data
                self.answer(201)
                return
            digest = re.search(r"digest=(sha256(?::|%3A)[0-9a-f]{64})", self.path)
            named = digest[1].replace("%3A", ":") if digest else ""
            if named != f"sha256:{hashlib.sha256(data).hexdigest()}":
                self.answer(400, b'{"errors": [{"code": "DIGEST_INVALID", "message": "not what it is called"}]}')
                return
            registry.uploads += 1
            registry.blobs[named] = data
            self.answer(201)

        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            if "/blobs/" in self.path:  # of ranges it knows nothing, as some do not
                blob = None if name in registry.lost else registry.blobs.get(name)
                self.answer(404 if blob is None else 200, blob or b"")
                return
            manifest = registry.manifests.get(name)
            self.answer(200 if manifest else 404, manifest or b"{}", Content_Type="application/json")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    registry.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
