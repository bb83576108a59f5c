"""A gateway that is told to stop, as a process: whom it serves, whom it finishes, whom it cuts off and tells."""

import http.client
import json
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2
import pytest

from demo.processes import Running, running
from server.together import free_port
from tests.fakes.engine import FakeEngine
from tests.fakes.serve import serving
from tests.pictures import chat, text_part

CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Scene:
    engine: FakeEngine
    gateway: Running
    url: str
    pool: ThreadPoolExecutor

    def ask(self, **fields: object) -> "Future[httpx2.Response]":
        """Sent, and known by the engine."""
        before = len(self.engine.chats)
        asked = self.pool.submit(httpx2.post, self.url + CHAT, json=chat(text_part("hi"), **fields), timeout=60)
        wait_until(lambda: len(self.engine.chats) > before)
        return asked

    def ready(self) -> httpx2.Response:
        return httpx2.get(f"{self.url}/health/ready")

    def tell(self, number: int = signal.SIGTERM) -> None:
        self.gateway.process.send_signal(number)

    def listens(self) -> bool:
        try:
            httpx2.get(f"{self.url}/health/live", timeout=5)
        except httpx2.TransportError:
            return False
        return True


@contextmanager
def scene(grace_s: float = 0, drain_s: float = 30) -> Iterator[Scene]:
    engine, port = FakeEngine(), free_port()
    environ = {
        "FOVEA_ENGINES__POLL_S": "0.1",
        "FOVEA_HTTP__DRAIN_GRACE_S": str(grace_s),
        "FOVEA_HTTP__DRAIN_S": str(drain_s),
    }
    with (
        serving(engine.app) as engine_url,
        running("server", "gateway", "--engine", engine_url, "--port", str(port), **environ) as gateway,
        ThreadPoolExecutor(8) as pool,
    ):
        made = Scene(engine, gateway, f"http://127.0.0.1:{port}", pool)
        wait_until(lambda: made.listens() and made.ready().status_code == 200)
        yield made
        engine.go.set()


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def events_of(response: httpx2.Response) -> list[str]:
    return [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]


def test_for_its_grace_it_is_not_ready_and_serves_on_connections_that_it_closes() -> None:
    with scene(grace_s=60) as now:
        address = urlsplit(now.url)
        kept = http.client.HTTPConnection(str(address.hostname), address.port)
        kept.request("GET", "/v1/models")
        first = kept.getresponse()
        first.read()
        assert first.getheader("connection") is None
        now.tell()
        wait_until(lambda: now.ready().status_code == 503)
        refused = now.ready()
        assert refused.json()["error"]["code"] == "draining"
        assert refused.headers["retry-after"]
        kept.request("GET", "/v1/models")
        assert (again := kept.getresponse()).status == 200
        assert again.getheader("connection") == "close"
        answer = httpx2.post(now.url + CHAT, json=chat(text_part("hi")))
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        now.tell()
        assert now.gateway.finish(30) == 0


def test_what_runs_is_finished_while_nobody_new_is_let_in() -> None:
    with scene() as now:
        now.engine.go.clear()
        stream, whole = now.ask(stream=True), now.ask()
        now.tell()
        wait_until(lambda: not now.listens())
        now.engine.go.set()
        assert events_of(stream.result())[-1] == "[DONE]"
        assert whole.result().json()["choices"][0]["finish_reason"] == "stop"
        assert now.gateway.finish(30) == 0
        assert (now.engine.finished, now.engine.cancelled) == (2, 0)


@pytest.mark.parametrize("signals", [1, 2], ids=["when its time is over", "at once, told twice"])
def test_what_does_not_end_is_cut_off_and_told(signals: int) -> None:
    with scene(drain_s=0.5 if signals == 1 else 60) as now:
        now.engine.go.clear()
        stream, whole = now.ask(stream=True), now.ask()
        for _ in range(signals):
            now.tell()
            time.sleep(0.3)
        last = json.loads(events_of(stream.result())[-1])
        assert last["error"]["code"] == "draining"
        assert (whole.result().status_code, whole.result().json()["error"]["code"]) == (503, "draining")
        assert whole.result().headers["retry-after"]
        assert now.gateway.finish(30) == 0
        now.engine.go.set()  # its whole answers look for their caller only then
        wait_until(lambda: now.engine.cancelled == 2)
        lines = [json.loads(line) for line in now.gateway.lines if CHAT in line]
        assert sorted((line["status"], line["code"]) for line in lines) == [(200, "draining"), (503, "draining")]
        assert not [line for line in now.gateway.lines if '"error"' in line], now.gateway.output


def test_a_person_at_the_keyboard_waits_for_no_grace() -> None:
    with scene(grace_s=60) as now:
        now.tell(signal.SIGINT)
        assert now.gateway.finish(30) == 0
