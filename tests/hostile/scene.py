"""A gateway under attack: what it says, what the engine behind it saw, and who was reached that must not be."""

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
from starlette.types import ASGIApp, Receive, Scope, Send

from server.engines.client import FORGET
from server.engines.client import PROBE as READY_PROBE
from server.images.addresses import Network
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving
from tests.pictures import chat, image_part

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
# What the gateway itself asks an engine to see whether it answers.
PROBE = {"model": "demo", "prompt": READY_PROBE, "max_tokens": 1}


class WatchedEngine:
    """The fake engine; `seen` holds the path and body of all that it was asked to do but what is the gateway's own:
    the readiness probe, and names of pictures to be forgotten."""

    def __init__(self) -> None:
        self.fake = FakeEngine()
        self.seen: list[tuple[str, bytes]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app: ASGIApp = self.fake.app
        if scope["type"] != "http" or scope["path"] in ("/health", "/metrics", "/v1/models"):
            await app(scope, receive, send)
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if not is_probe(body) and not (scope["path"] == FORGET and are_names(body)):
            self.seen.append((scope["path"], body))
        whole = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Any:
            return whole.pop() if whole else await receive()

        await app(scope, again, send)

    def chats(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.seen]


def are_names(body: bytes) -> bool:
    """Of pictures, and nothing else: a deleted file's."""
    said = json.loads(body)
    names = said.pop("digests")
    return not said and all(re.fullmatch("[0-9a-f]{64}", name) for name in names)


def is_probe(body: bytes) -> bool:
    with contextlib.suppress(ValueError):
        return bool(json.loads(body) == PROBE)
    return False


@dataclass
class Trap:
    """A port of every address of this machine; whoever connects is counted, and answered with a picture."""

    port: int
    visits: list[str] = field(default_factory=list)


@contextmanager
def trap() -> Iterator[Trap]:
    with socket.socket(socket.AF_INET6) as listener:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::", 0))
        listener.listen(64)
        listener.settimeout(0.2)
        found = Trap(listener.getsockname()[1])
        stop = threading.Event()

        def watch() -> None:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    visitor, place = listener.accept()
                    found.visits.append(str(place))
                    visitor.close()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            stop.set()
            thread.join(5)


@dataclass
class Scene:
    """One gateway, the engine behind it, the trap beside it."""

    url: str
    engine: WatchedEngine
    trap: Trap
    http: httpx2.Client

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)

    def post(self, path: str, body: Any = None, **options: Any) -> httpx2.Response:
        """`body` as JSON, or, where it is bytes, as it is."""
        if isinstance(body, bytes):
            headers = {"content-type": "application/json", **options.pop("headers", {})}
            return self.http.post(path, content=body, headers=headers, **options)
        return self.http.post(path, json=body, **options)

    def refused(self, answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
        """The error of an answer that must be one, in OpenAI's shape, with an id and nothing of our insides."""
        assert answer.status_code == status, f"{answer.status_code} {answer.text[:300]}"
        return check_error(answer.content, code)

    def metric(self, sample: str) -> float:
        lines = self.http.get("/metrics").text.splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{sample} ")), 0.0)

    def is_idle(self) -> bool:
        told = self.http.get("/metrics").text
        return "\nfovea_bytes_in_flight 0.0\n" in told and "\nfovea_requests_in_flight 0.0\n" in told

    def check_unharmed(self) -> None:
        """The engine saw nothing, nobody came into the trap, and nothing is held any more."""
        assert self.engine.seen == []
        assert self.trap.visits == []
        wait_until(self.is_idle, "bytes are still held, or a request is still under way")

    def check_answers(self) -> None:
        """A good request is still answered."""
        assert self.post(CHAT, chat(image_part())).status_code == 200
        assert len(self.engine.seen) == 1
        self.engine.seen.clear()


@contextmanager
def scene(network: Network | None = None, **sections: dict[str, Any]) -> Iterator[Scene]:
    engine = WatchedEngine()
    # What reaches an engine is looked at here: every picture, however often it comes.
    sections["engines"] = {"hash_first": False, **sections.get("engines", {})}
    with (
        serving(engine) as engine_url,
        trap() as watched,
        gateway(engine_url, network=network, **sections) as url,
        httpx2.Client(base_url=url, timeout=30, trust_env=False) as http,
    ):
        yield Scene(url, engine, watched, http)


INSIDE = re.compile(rb"127\.0\.0\.1|/work|/home|site-packages|Traceback|\.py\b|Errno|ClientConnector|aiohttp|PIL\.")


def check_error(content: bytes, code: str) -> dict[str, Any]:
    """OpenAI's shape, this code, a bounded message that says nothing of files, libraries or addresses of ours."""
    error: dict[str, Any] = json.loads(content)["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["code"] == code, error
    assert error["message"]
    assert len(content) < 4000
    assert not INSIDE.search(content), content
    return error


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
