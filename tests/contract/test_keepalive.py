"""Streams whose first event is long in coming: kept open, and told of failures that come after their status."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import orjson
import pytest

from tests.contract.test_faults import wait_until
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway, metric
from tests.fakes.serve import serving
from tests.pictures import chat, text_part

COMMENT, PING = ": keepalive", "event: ping"
MESSAGES = [{"role": "user", "content": "hi"}]
BODIES: dict[str, tuple[dict[str, Any], str]] = {
    "/v1/chat/completions": (chat(text_part("hi")), COMMENT),
    "/v1/responses": ({"model": "demo", "input": "hi"}, COMMENT),
    "/v1/messages": ({"model": "demo", "max_tokens": 16, "messages": MESSAGES}, PING),
}
each_surface = pytest.mark.parametrize("path", BODIES)


@dataclass
class Scene:
    url: str
    engine: FakeEngine

    def stream(self, path: str, **fields: Any) -> httpx2.Response:
        return httpx2.post(self.url + path, json={**BODIES[path][0], "stream": True, **fields}, timeout=30)


@pytest.fixture
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    engine = FakeEngine()
    admission = {"max_running": 1, "max_waiting": 4, "wait_timeout_s": 1}
    with (
        serving(engine.app) as engine_url,
        gateway(engine_url, http={"keepalive_s": 0.2}, admission=admission) as url,
    ):
        yield Scene(url, engine)
        engine.go.set()


@each_surface
def test_a_stream_that_waits_for_its_engine_is_kept_open_and_then_whole(scene: Scene, path: str) -> None:
    quick = scene.stream(path).text
    scene.engine.pause_s = 0.5
    answer = scene.stream(path)
    lines = answer.text.splitlines()
    said = [n for n, line in enumerate(lines) if line.startswith(("data: {", "event: ")) and "ping" not in line]
    beats = [n for n, line in enumerate(lines) if line == BODIES[path][1]]
    assert beats
    assert max(beats) < said[0]
    assert BODIES[path][1] not in quick.splitlines()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.count("data: {") - len(beats) * (path == "/v1/messages") == quick.count("data: {")


@each_surface
def test_what_fails_after_the_status_is_the_streams_last_event(scene: Scene, path: str) -> None:
    """It waits for a place until its time is over."""
    scene.engine.go.clear()
    held = threading.Thread(
        target=httpx2.post,
        args=(scene.url + "/v1/chat/completions",),
        kwargs={"json": BODIES["/v1/chat/completions"][0], "timeout": 30},
    )
    held.start()
    wait_until(lambda: len(scene.engine.chats) == 1)
    answer = scene.stream(path)
    scene.engine.go.set()
    held.join()
    assert answer.status_code == 200
    assert BODIES[path][1] in answer.text.splitlines()
    last = orjson.loads(answer.text.rstrip("\n").rpartition("data: ")[2])
    assert last["error"]["code"] == "waited_too_long"
    route = path.rpartition("/")[2].replace("completions", "chat")
    labels = f'code="waited_too_long",model="demo",route="{route}",status="429",tenant="-"'
    assert metric(scene.url, f"fovea_requests_total{{{labels}}}") == 1


@each_surface
def test_what_fails_before_keeps_its_status(scene: Scene, path: str) -> None:
    assert scene.stream(path, model="other").status_code == 404
    scene.engine.fail = 400
    assert scene.stream(path).status_code == 400


@each_surface
def test_a_caller_that_leaves_meanwhile_stops_the_engine(scene: Scene, path: str) -> None:
    scene.engine.pause_s = 60
    body = {**BODIES[path][0], "stream": True}
    with httpx2.stream("POST", scene.url + path, json=body, timeout=30) as answer:
        next(answer.iter_lines())
    wait_until(lambda: scene.engine.cancelled == 1)
    wait_until(lambda: metric(scene.url, "fovea_requests_in_flight") == 0)
