"""`fovea gateway --workers 2`: processes that die, are replaced and stop, and one scrape that shows them all."""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from demo.processes import Running, running
from server.together import free_port
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import metric
from tests.fakes.serve import serving
from tests.pictures import chat, text_part

CHAT = "/v1/chat/completions"
ANSWERED = 'fovea_requests_total{code="",model="demo",route="chat",status="200",tenant="-"}'


@dataclass(frozen=True)
class Scene:
    engine: FakeEngine
    gateway: Running
    url: str

    def ask(self, **fields: object) -> httpx2.Response:
        return httpx2.post(self.url + CHAT, json=chat(text_part("hi"), **fields), timeout=30)

    def workers(self) -> set[int]:
        """Those that look after themselves: their command is all that the kernel says of them."""
        children = Path(f"/proc/{self.gateway.process.pid}/task/{self.gateway.process.pid}/children")
        return {int(pid) for pid in children.read_text().split()}

    def serve(self, number: int) -> bool:
        return len(self.workers()) == number and self.answers()

    def answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/health/ready", timeout=5).status_code == 200
        except httpx2.TransportError:
            return False


@dataclass
class Load:
    """Callers that never stop asking, each on a connection of its own; a lost connection is no answer."""

    scene: Scene
    statuses: list[int] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self, callers: int) -> Iterator["Load"]:
        threads = [threading.Thread(target=self._ask) for _ in range(callers)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def _ask(self) -> None:
        with httpx2.Client(timeout=30) as http:
            while not self._over.is_set():
                try:
                    self.statuses.append(http.post(self.scene.url + CHAT, json=chat(text_part("hi"))).status_code)
                except httpx2.TransportError as problem:
                    self.lost.append(type(problem).__name__)


@contextmanager
def scene(workers: int = 2, **environ: str) -> Iterator[Scene]:
    engine, port = FakeEngine(), free_port()
    environ = {"FOVEA_ENGINES__POLL_S": "0.1", "FOVEA_HTTP__DRAIN_GRACE_S": "1", **environ}
    with serving(engine.app) as engine_url:
        options = ("--engine", engine_url, "--port", str(port), "--workers", str(workers))
        with running("server", "gateway", *options, **environ) as gateway:
            made = Scene(engine, gateway, f"http://127.0.0.1:{port}")
            wait_until(lambda: made.serve(workers))
            yield made


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_a_scrape_shows_all_and_no_count_falls_when_a_worker_dies() -> None:
    with scene() as now:
        for _ in range(20):
            assert now.ask().status_code == 200
        assert metric(now.url, ANSWERED) == 20
        assert metric(now.url, 'fovea_engine_ready{engine="engine-0"}') == 1
        for killed in now.workers():
            os.kill(killed, signal.SIGKILL)
            assert metric(now.url, ANSWERED) == 20
            wait_until(lambda killed=killed: killed not in now.workers() and now.serve(2))  # type: ignore[misc]
            now.gateway.wait_for("ended with code -9; the next begins in 0.2 s", 10)
        assert now.ask().status_code == 200
        assert metric(now.url, ANSWERED) == 21
        scraped = httpx2.get(now.url + "/metrics").text
        assert re.findall(r"^fovea_request_duration_seconds_count\{.*\} (\S+)$", scraped, re.MULTILINE) == ["21.0"]
        assert now.gateway.stop() == 0


def test_workers_are_replaced_under_load_and_nobody_is_turned_away(tmp_path: Path) -> None:
    audit = {"FOVEA_LOGS__AUDIT_FILE": str(tmp_path / "audit"), "FOVEA_LOGS__AUDIT_MAX_BYTES": "100000"}
    with scene(**audit, FOVEA_LOGS__AUDIT_BACKUPS="1000", FOVEA_LIMITS__TENANT__REQUESTS="1000000") as now:
        now.gateway.wait_for("each of the 2 workers for itself", 1)
        before = now.workers()
        with Load(now).running(4) as load:
            wait_until(lambda: len(load.statuses) > 20)
            now.gateway.process.send_signal(signal.SIGHUP)
            now.gateway.wait_for("2 workers were replaced", 30)
            wait_until(lambda: now.serve(2))
            assert not now.workers() & before
            served = len(load.statuses)
            wait_until(lambda: len(load.statuses) > served + 20)
        assert set(load.statuses) == {200}
        assert load.lost == []
        assert metric(now.url, ANSWERED) == len(load.statuses)
    lines = [line for file in tmp_path.iterdir() for line in file.read_text().splitlines()]
    assert sum(json.loads(line)["path"] == CHAT for line in lines) == len(load.statuses)
    assert len(list(tmp_path.iterdir())) > 1


def test_all_finish_what_they_have_begun_when_told_to_stop() -> None:
    with scene() as now:
        now.engine.pause_s = 0.2
        with Load(now).running(6) as load:
            wait_until(lambda: len(now.engine.chats) >= 6)
            now.gateway.process.send_signal(signal.SIGTERM)
            assert now.gateway.finish(30) == 0
        assert set(load.statuses) == {200}
        assert now.engine.cancelled == 0
        assert set(load.lost) <= {"ConnectError"}  # nobody listens any more


def test_all_finish_what_they_have_begun_when_told_to_stop_while_they_are_replaced() -> None:
    with scene(FOVEA_HTTP__DRAIN_GRACE_S="0") as now, ThreadPoolExecutor(1) as pool:
        now.engine.go.clear()
        asked = pool.submit(now.ask)
        wait_until(lambda: len(now.engine.chats) == 1)
        now.gateway.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(now.workers()) == 3)
        now.gateway.process.send_signal(signal.SIGTERM)
        wait_until(lambda: len(now.workers()) == 1)
        now.engine.go.set()
        assert asked.result().status_code == 200
        assert now.gateway.finish(30) == 0


def test_a_worker_that_is_being_replaced_finishes_what_it_has_when_all_stop() -> None:
    with scene(FOVEA_HTTP__DRAIN_GRACE_S="0") as now, ThreadPoolExecutor(1) as pool:
        now.engine.go.clear()
        asked = pool.submit(now.ask)
        wait_until(lambda: len(now.engine.chats) == 1)
        now.gateway.process.send_signal(signal.SIGHUP)
        now.gateway.wait_for("2 workers were replaced", 30)
        now.gateway.process.send_signal(signal.SIGTERM)
        wait_until(lambda: len(now.workers()) == 1)
        now.engine.go.set()
        assert asked.result().status_code == 200
        assert now.gateway.finish(30) == 0


def test_no_worker_outlives_who_looks_after_it() -> None:
    with scene() as now:
        workers = now.workers()
        now.gateway.process.kill()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def test_what_cannot_start_says_so_once() -> None:
    failed = Running("server", "gateway", "--workers", "3", "--engine", "http://x", "--preprocessor", "/none")
    assert failed.finish(30) == 2
    assert len(failed.lines) == 1
    assert "cannot read /none" in failed.lines[0]
