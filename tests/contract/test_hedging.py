"""Requests whose engine is slow to begin are sent to another one, too, where that is set: two fake engines."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import orjson
import pytest

from tests.contract.test_faults import wait_until
from tests.contract.test_keepalive import BODIES
from tests.contract.test_pools import QUICK, ready
from tests.fakes.engine import FakeEngine, images_in
from tests.fakes.gateway import gateway, metric
from tests.fakes.serve import serving
from tests.pictures import chat, image_part, text_part

CHAT = "/v1/chat/completions"
SLOW_S = 60.0  # a token: no test waits for one


@dataclass
class Scene:
    """Two engines; `body` prefers `home`, which begins to be slow with `slow`."""

    url: str
    path: str
    body: dict[str, Any]
    home: FakeEngine
    away: FakeEngine
    home_name: str

    @property
    def away_name(self) -> str:
        return "engine-1" if self.home_name == "engine-0" else "engine-0"

    def slow(self) -> None:
        self.home.chats.clear()
        self.home.responses.clear()
        self.home.finished = 0
        self.home.pause_s = SLOW_S

    def post(self) -> httpx2.Response:
        return httpx2.post(self.url + self.path, json=self.body, timeout=30)

    def hedges(self) -> tuple[float, float]:
        return metric(self.url, "fovea_engine_hedges_total"), metric(self.url, "fovea_engine_hedges_won_total")

    def held(self) -> tuple[float, float]:
        places, tokens = (f'fovea_admission_held_{what}{{model="demo"}}' for what in ("places", "tokens"))
        return metric(self.url, places), metric(self.url, tokens)

    def running(self) -> list[float]:
        names = (self.home_name, self.away_name)
        return [metric(self.url, f'fovea_engine_requests_running{{engine="{name}"}}') for name in names]


def address_of(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


@contextmanager
def scene(
    path: str = CHAT, asked: Any = None, hedge_after_s: float = 0.5, admission: Any = None, **engines: Any
) -> Iterator[Scene]:
    """`home` is whom the body goes to while both are quick: the same bytes go to the same engine."""
    body = {**BODIES[path][0], **(asked or {})}
    one, two = FakeEngine(), FakeEngine()
    options = {**QUICK, "hedge_after_s": hedge_after_s, **engines}
    with (
        serving(one.app) as a,
        serving(two.app) as b,
        gateway(a, b, engines=options, admission=admission or {}) as url,
    ):
        wait_until(lambda: ready(url, "engine-0", "engine-1"))
        name = httpx2.post(url + path, json=body).headers["x-fovea-engine"]
        home, away = (one, two) if name == "engine-0" else (two, one)
        try:
            yield Scene(url, path, body, home, away, name)
        finally:
            one.go.set()
            two.go.set()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", BODIES)
def test_a_slow_engine_loses_and_is_cancelled_before_it_has_said_a_word(path: str, stream: bool) -> None:
    with scene(path, {"stream": stream}) as made:
        made.slow()
        answer = made.post()
        assert (answer.status_code, answer.headers["x-fovea-engine"]) == (200, made.away_name)
        assert "circle" in answer.text
        wait_until(lambda: made.home.cancelled == 1)
        assert (made.home.finished, made.away.finished) == (0, 1)
        assert made.hedges() == (1, 1)
        wait_until(lambda: made.held() == (0, 0))
        assert made.running() == [0, 0]


def test_off_by_default_one_engine_is_asked_however_slow_it_is() -> None:
    with scene(hedge_after_s=0) as made:
        made.home.pause_s = 0.1
        assert made.post().headers["x-fovea-engine"] == made.home_name
        assert (len(made.home.chats), made.away.chats) == (2, [])
        assert made.hedges() == (0, 0)


def test_a_stream_that_has_begun_is_left_where_it_is() -> None:
    with scene(asked={"stream": True}) as made:
        made.home.go.clear()
        with httpx2.stream("POST", made.url + CHAT, json=made.body, timeout=30) as answer:
            frames = answer.iter_raw()
            first = next(frames)
            assert b"data: " in first
            time.sleep(0.7)
            assert made.hedges() == (0, 0)
            made.home.go.set()
            assert b"[DONE]" in b"".join(frames)
        assert made.away.chats == []


def test_where_both_fail_the_first_ones_error_is_told() -> None:
    with scene() as made, ThreadPoolExecutor(1) as callers:
        made.home.fail, made.home.fails_late = 500, True
        made.away.fail, made.away.says = 400, "of the second"
        made.home.go.clear()
        asked = callers.submit(made.post)
        wait_until(lambda: len(made.away.chats) == 1)
        made.home.go.set()
        answer = asked.result()
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "engine_failed")
        assert made.home_name in answer.json()["error"]["message"]
        assert (len(made.home.chats), len(made.away.chats)) == (2, 1)
        assert made.hedges() == (1, 0)
        assert made.held() == (0, 0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_that_leaves_cancels_both(stream: bool) -> None:
    with scene(asked={"stream": stream}) as made:
        made.slow()
        made.away.pause_s = SLOW_S
        body = orjson.dumps(made.body)
        with socket.create_connection(address_of(made.url), timeout=20) as caller:
            head = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            caller.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            wait_until(lambda: (len(made.home.chats), len(made.away.chats)) == (1, 1))
            assert made.running() == [1, 1]
            places, _ = made.held()
            assert places == 2  # the gate counts both
        wait_until(lambda: (made.home.cancelled, made.away.cancelled) == (1, 1))
        wait_until(lambda: metric(made.url, "fovea_requests_cancelled_total") == 1)
        assert (made.running(), made.held()) == ([0, 0], (0, 0))
        assert (made.home.finished, made.away.finished) == (0, 0)


def test_hedges_stop_when_the_budget_is_empty() -> None:
    with scene(retry_ratio=0, retry_floor=2) as made:
        made.home.pause_s = 0.3
        said = [made.post().headers["x-fovea-engine"] for _ in range(4)]
        # Were this slower than the window of 10 s, the budget would be there again.
        assert said == [made.away_name] * 2 + [made.home_name] * 2
        assert made.hedges() == (2, 2)
        assert len(made.away.chats) == 2


def test_where_the_gate_has_no_room_for_it_nobody_else_is_asked() -> None:
    with scene(admission={"max_running": 1}) as made:
        made.home.pause_s = 0.2
        assert made.post().headers["x-fovea-engine"] == made.home_name
        assert (made.hedges(), made.away.chats) == ((0, 0), [])


def test_the_second_engine_is_sent_the_pictures_that_the_first_knows_by_name() -> None:
    with scene(asked=chat(image_part(), text_part("?"))) as made:
        made.slow()
        assert made.post().headers["x-fovea-engine"] == made.away_name
        (named,), (sent,) = (list(images_in(engine.chats)) for engine in (made.home, made.away))
        assert (named["image_url"], named["uuid"]) == (None, sent["uuid"])
        assert sent["image_url"] == image_part()["image_url"]
