"""Whatever becomes of a request, nothing of it waits for the garbage collector, which does not count bytes."""

import gc
import socket
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import httpx2
import orjson
import pytest

from server.domain import ImageSource, InlineImage, LoadedImage, ParsedRequest, ReadyRequest
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway, metric
from tests.fakes.serve import serving
from tests.pictures import chat, image_part, noise, text_part

CHAT = "/v1/chat/completions"
LARGE = image_part(noise("JPEG", (500, 400)))  # its base64 is cut out
NO_IMAGE = image_part(b"no picture " * 1000)
BROKEN = {"type": "image_url", "image_url": {"url": LARGE["image_url"]["url"] + "!"}}
READY = 'fovea_engine_ready{engine="engine-0"}'
OURS = (ImageSource, InlineImage, LoadedImage, ParsedRequest, ReadyRequest, memoryview)

Scene = Callable[[str, FakeEngine], object]


def post(body: Any, fail: int | None = None, die_after: int | None = None) -> Scene:
    def scene(url: str, engine: FakeEngine) -> object:
        engine.fail, engine.die_after = fail, die_after
        return httpx2.post(url + CHAT, json=body).status_code

    return scene


def post_raw(raw: bytes) -> Scene:
    headers = {"content-type": "application/json"}
    return lambda url, _: httpx2.post(url + CHAT, content=raw, headers=headers).status_code


def leave(url: str, engine: FakeEngine) -> object:
    """Hang up while the engine works."""
    engine.pause_s, seen = 0.2, len(engine.chats)
    body = orjson.dumps(chat(LARGE, stream=True))
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as caller:
        head = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        caller.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        while len(engine.chats) == seen:
            time.sleep(0.02)
    while not engine.cancelled:
        time.sleep(0.02)
    return "left"


SCENES: dict[str, tuple[Scene, object]] = {
    "answered": (post(chat(LARGE)), 200),
    "streamed": (post(chat(LARGE, stream=True)), 200),
    "model": (post(chat(LARGE, model="none")), 404),
    "field": (post(chat(LARGE, cache_salt="x")), 400),
    "json": (post_raw(orjson.dumps(chat(LARGE))[:-1]), 400),
    "base64": (post(chat(BROKEN)), 400),
    "image": (post(chat(NO_IMAGE)), 415),
    "one of many": (post(chat(LARGE, NO_IMAGE, LARGE, text_part("x"))), 415),
    "too many": (post(chat(*[LARGE] * 17)), 400),
    "context": (post(chat(LARGE, max_tokens=5000)), 400),
    "engine refuses": (post(chat(LARGE), fail=400), 400),
    "engine fails": (post(chat(LARGE), fail=500), 502),
    "engine dies": (post(chat(LARGE, stream=True), die_after=1), 200),
    "left": (leave, "left"),
}


@pytest.fixture
def collector_off() -> Iterator[None]:
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


@pytest.mark.usefixtures("collector_off")
@pytest.mark.parametrize("name", SCENES)
def test_no_circle_holds_anything_of_a_request_that_has_ended(name: str) -> None:
    engine = FakeEngine()
    scene, outcome = SCENES[name]
    with serving(engine.app) as engine_url, gateway(engine_url) as url:
        assert circles_of(url, lambda: scene(url, engine), outcome) == []


@pytest.mark.usefixtures("collector_off")
@pytest.mark.parametrize("name", ["won", "lost", "both fail"])
def test_no_circle_holds_anything_of_a_request_that_was_sent_to_two_engines(name: str) -> None:
    home, away = FakeEngine(), FakeEngine()
    hedging = {"hedge_after_s": 0.5, "hash_first": False, "poll_s": 0.1}
    with serving(home.app) as one, serving(away.app) as two, gateway(one, two, engines=hedging) as url:

        def ask() -> int:
            return httpx2.post(url + CHAT, json=chat(LARGE), timeout=20).status_code

        while metric(url, 'fovea_engine_ready{engine="engine-1"}') + metric(url, READY) < 2:
            time.sleep(0.05)
        ask()
        if away.chats:
            home, away = away, home
        home.pause_s, away.pause_s = {"won": (30, 0), "lost": (0.2, 30), "both fail": (0.2, 0.2)}[name]
        if name == "both fail":
            home.fail = away.fail = 500
            home.fails_late = away.fails_late = True
        assert circles_of(url, ask, 502 if name == "both fail" else 200, warm=False) == []
        assert metric(url, "fovea_engine_hedges_total") == 1
        assert metric(url, "fovea_engine_hedges_won_total") == (name == "won")


def circles_of(url: str, scene: Callable[[], object], outcome: object, warm: bool = True) -> list[object]:
    if warm:
        httpx2.post(url + CHAT, json=chat(LARGE))  # what is made once is made
    time.sleep(0.2)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    assert scene() == outcome
    time.sleep(0.3)
    gc.collect()
    gc.set_debug(0)
    return [each for each in gc.garbage if isinstance(each, OURS) or of_the_gateway(each)]


def of_the_gateway(thing: object) -> bool:
    return isinstance(thing, FrameType) and "/server/" in thing.f_code.co_filename
