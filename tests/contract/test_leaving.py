"""Callers that leave, whatever they had asked for: their engine's work ends at once. Only a fake engine tells."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from loadtest.gateway.leaving import measure_leaving
from loadtest.gateway.processes import gateway as watched_gateway
from loadtest.gateway.processes import stub
from tests.contract.test_faults import wait_until
from tests.contract.test_keepalive import BODIES
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway, metric
from tests.fakes.serve import serving

# Small requests that the gateway answers to others meanwhile, one by one: a measure of time that is the machine's.
SOON = 50
NEVER_S = 3600.0


@dataclass
class Scene:
    url: str
    engine: FakeEngine

    def begin(self, path: str, **fields: Any) -> socket.socket:
        """A caller whose request has come to the engine."""
        body = orjson.dumps({**BODIES[path][0], **fields})
        host, _, port = self.url.removeprefix("http://").partition(":")
        caller = socket.create_connection((host, int(port)), timeout=20)
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        caller.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        wait_until(lambda: len(self.engine.chats) + len(self.engine.responses) == 1)
        return caller

    def others_until_cancelled(self) -> int:
        """How many requests of others are answered until the engine sees that its caller has gone."""
        with httpx2.Client(base_url=self.url, timeout=20) as http:
            for answered in range(SOON):
                if self.engine.cancelled:
                    return answered
                assert http.post("/tokenize", json={"model": "demo", "prompt": "hi"}).status_code == 200
        return SOON

    def is_over(self) -> bool:
        names = (
            "fovea_requests_in_flight",
            "fovea_bytes_in_flight",
            'fovea_engine_requests_running{engine="engine-0"}',
            'fovea_admission_held_places{model="demo"}',
        )
        return [metric(self.url, name) for name in names] == [0] * len(names)


@pytest.fixture
def scene() -> Iterator[Scene]:
    engine = FakeEngine()
    with serving(engine.app) as engine_url, gateway(engine_url) as url:
        yield Scene(url, engine)
        engine.go.set()


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("path", BODIES)
def test_an_engine_that_has_not_said_a_word_sees_its_connection_closed(
    scene: Scene, path: str, stream: bool
) -> None:
    """It would work on for hours, and is written to by nobody: only the closing tells it."""
    scene.engine.pause_s = NEVER_S
    scene.begin(path, stream=stream).close()
    assert scene.others_until_cancelled() < SOON
    assert scene.engine.finished == 0
    wait_until(lambda: metric(scene.url, "fovea_requests_cancelled_total") == 1)
    assert scene.is_over()


@pytest.mark.parametrize("path", BODIES)
def test_an_engine_that_has_begun_to_stream_sees_its_connection_closed(scene: Scene, path: str) -> None:
    scene.engine.go.clear()
    with scene.begin(path, stream=True) as caller:
        said = b""
        while b"data: " not in said:
            said += caller.recv(65536)
    assert scene.others_until_cancelled() < SOON
    assert scene.engine.finished == 0
    wait_until(scene.is_over)


def test_the_benchmark_sees_callers_of_streams_and_of_whole_answers_leave() -> None:
    with stub() as upstream, watched_gateway(Path.cwd(), upstream, {}) as made:
        for stream in (True, False):
            told = measure_leaving("ours", made.port, upstream, stream, times=5)
            assert (told.stream, told.callers) == (stream, 5)
            assert 0 < told.p50_ms <= told.p99_ms <= told.worst_ms
