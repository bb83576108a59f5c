"""The hub's HTTP, as much as a pull asks of it: one model's list of files, and their bytes, with ranges.

HF_ENDPOINT leads the hub's own library here.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c" * 40


class FakeHub:
    """It has ORG/NAME as `name` with `files`. `most`: bytes of an answer after which it breaks off, or hangs until
    `go_on` where it `hangs`. `lies` has other bytes than are listed."""

    def __init__(self, name: str, files: dict[str, bytes]) -> None:
        self.name, self.files = name, files
        self.lies: dict[str, bytes] = {}
        self.most: int | None = None
        self.hangs = False
        self.go_on = threading.Event()
        self.gated = False
        self.asked: list[tuple[str, int]] = []  # file, first byte
        self.tokens: set[str | None] = set()
        self.url = ""

    def listing(self) -> bytes:
        siblings = []
        for name, data in self.files.items():
            digest = hashlib.sha256(data).hexdigest()
            git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            lfs = (
                {"sha256": digest, "size": len(data), "pointerSize": 134} if name.endswith(".safetensors") else None
            )
            siblings.append({"rfilename": name, "size": len(data), "blobId": git, **({"lfs": lfs} if lfs else {})})
        return json.dumps({"id": self.name, "modelId": self.name, "sha": COMMIT, "siblings": siblings}).encode()


@contextmanager
def serving_hub(name: str, files: dict[str, bytes]) -> Iterator[FakeHub]:
    hub = FakeHub(name, files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def answer(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(key.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body[: hub.most])
            if hub.most is not None and len(body) > hub.most:
                self.wfile.flush()
                if hub.hangs:
                    hub.go_on.wait(120)
                self.close_connection = True

        def do_GET(self) -> None:
            hub.tokens.add((self.path, self.headers.get("authorization")))
            path = self.path.partition("?")[0]
            if hub.gated:
                self.answer(401, b'{"error": "gated"}', X_Error_Code="GatedRepo")
            elif re.fullmatch(rf"/api/models/{hub.name}(/revision/(main|v1|{COMMIT}))?", path):
                most, hub.most = hub.most, None
                self.answer(200, hub.listing(), Content_Type="application/json")
                hub.most = most
            elif match := re.fullmatch(rf"/{hub.name}/resolve/{COMMIT}/(.+)", path):
                self.file(match[1])
            else:
                self.answer(404, b'{"error": "not found"}', X_Error_Code="RepoNotFound")

        def file(self, name: str) -> None:
            data = {**hub.files, **hub.lies}[name]
            found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
            start = int(found[1]) if found else 0
            hub.asked.append((name, start))
            about = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if found else {}
            self.answer(206 if found else 200, data[start:], **about)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()
