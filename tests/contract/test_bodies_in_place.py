"""Large bodies are read by the connection itself, to where they stay: whatever their callers do meanwhile."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import orjson
import pytest

from server.api.in_place import BodyInPlace
from tests.contract.test_faults import metric, wait_until
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving
from tests.pictures import chat, image_part, noise, text_part

LARGE = orjson.dumps(chat(image_part(noise("JPEG", (900, 700), quality=97))))
SMALL = orjson.dumps(chat(text_part("small")))
LIMITS = {"body_timeout_s": 1.0}


def request(body: bytes, *lines: str, length: int | None = None) -> bytes:
    head = ["POST /v1/chat/completions HTTP/1.1", "host: localhost", "content-type: application/json", *lines]
    head.append(f"content-length: {len(body) if length is None else length}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


class Bench:
    """A gateway, its engine, and how many bodies it read in place."""

    def __init__(self, url: str, engine: FakeEngine, read: list[int]) -> None:
        self.url, self.engine, self.read = url, engine, read

    @contextmanager
    def caller(self) -> Iterator[socket.socket]:
        host, _, port = self.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=20) as caller:
            yield caller

    def check_idle(self) -> None:
        wait_until(lambda: metric(self.url, "fovea_bytes_in_flight") == 0)
        wait_until(lambda: metric(self.url, "fovea_requests_in_flight") == 0)
        assert httpx2.post(f"{self.url}/v1/chat/completions", content=SMALL, headers=JSON).status_code == 200


JSON = {"content-type": "application/json"}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    read: list[int] = []
    ordinary = BodyInPlace.read

    async def counted(self: BodyInPlace) -> bool:
        read.append(len(self._place))
        return await ordinary(self)

    monkeypatch.setattr(BodyInPlace, "read", counted)
    engine = FakeEngine()
    with serving(engine.app) as engine_url, gateway(engine_url, http=LIMITS) as url:
        yield Bench(url, engine, read)


def answers(caller: socket.socket, count: int) -> bytes:
    """What came until `count` answers had ended, or the other side closed."""
    got = b""
    while got.count(b'"total_tokens"') + got.count(b'"error"') < count and (piece := caller.recv(65536)):
        got += piece
    return got


def texts(engine: FakeEngine) -> list[Any]:
    return [body["messages"][0]["content"][0]["type"] for body in engine.chats]


def test_large_bodies_follow_each_other_on_one_connection(bench: Bench) -> None:
    assert len(LARGE) > 600_000
    with bench.caller() as caller:
        for body in (LARGE, SMALL, LARGE, LARGE):
            caller.sendall(request(body))
            assert answers(caller, 1).startswith(b"HTTP/1.1 200")
    assert texts(bench.engine) == ["image_url", "text", "image_url", "image_url"]
    assert len(bench.read) == 3
    bench.check_idle()


@pytest.mark.parametrize("behind", [[SMALL], [SMALL, LARGE, SMALL], [LARGE, LARGE]])
def test_what_comes_behind_a_large_body_is_the_next_request(bench: Bench, behind: list[bytes]) -> None:
    """All of them are sent before the first is answered."""
    with bench.caller() as caller:
        caller.sendall(b"".join(map(request, [LARGE, *behind])))
        assert answers(caller, 1 + len(behind)).count(b"HTTP/1.1 200") == 1 + len(behind)
    kinds = {LARGE: "image_url", SMALL: "text"}
    assert texts(bench.engine) == [kinds[each] for each in (LARGE, *behind)]
    bench.check_idle()


def test_a_large_body_may_be_the_last(bench: Bench) -> None:
    with bench.caller() as caller:
        caller.sendall(request(LARGE, "connection: close"))
        got = answers(caller, 2)
        assert caller.recv(1) == b""
    assert got.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in got
    bench.check_idle()


@pytest.mark.parametrize("before", [[], [SMALL], [LARGE]], ids=["first", "behind small", "behind large"])
def test_a_last_request_is_answered_although_something_stands_behind_it(bench: Bench, before: list[bytes]) -> None:
    with bench.caller() as caller:
        for body in before:
            caller.sendall(request(body))
            assert answers(caller, 1).startswith(b"HTTP/1.1 200")
        caller.sendall(request(SMALL, "connection: close") + b"GET / HTTP/1.1\r\n\r\n")
        assert answers(caller, 1).startswith(b"HTTP/1.1 200")
    bench.check_idle()


def test_it_may_be_asked_for_first(bench: Bench) -> None:
    with bench.caller() as caller:
        caller.sendall(request(b"", "expect: 100-continue", length=len(LARGE)))
        assert caller.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        caller.sendall(LARGE)
        assert answers(caller, 1).startswith(b"HTTP/1.1 200")
    bench.check_idle()


@pytest.mark.parametrize("part", [0.3, 0.7, 0.999])
@pytest.mark.parametrize("reset", [False, True])
def test_a_caller_that_leaves_in_the_middle_leaves_nothing(bench: Bench, part: float, reset: bool) -> None:
    sent = request(LARGE)
    with bench.caller() as caller:
        caller.sendall(sent[: int(len(sent) * part)])
        wait_until(lambda: bench.read != [])
        if reset:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    bench.check_idle()
    assert len(bench.engine.chats) == 1  # that of the check


def test_a_body_that_stops_coming_has_a_deadline_and_what_comes_late_is_no_request(bench: Bench) -> None:
    sent = request(LARGE)
    with bench.caller() as caller:
        caller.sendall(sent[:-100_000])
        got = answers(caller, 1)
        assert got.startswith(b"HTTP/1.1 400")
        assert b"did not arrive" in got
        caller.sendall(request(SMALL) * 3)
        while piece := caller.recv(65536):
            got += piece
    assert got.count(b"HTTP/1.1") == 1
    bench.check_idle()
    assert len(bench.engine.chats) == 1


def test_slow_bodies_hold_up_nobody(bench: Bench) -> None:
    """Each in twenty pieces, all at once, beside a quick one."""
    sent = request(LARGE)
    step = len(sent) // 20 + 1
    with bench.caller() as one, bench.caller() as two, bench.caller() as three:
        for start in range(0, len(sent), step):
            for caller in (one, two, three):
                caller.sendall(sent[start : start + step])
            if start == step * 10:
                quick = httpx2.post(f"{bench.url}/v1/chat/completions", content=LARGE, headers=JSON)
                assert quick.status_code == 200
            time.sleep(0.01)
        assert [answers(caller, 1)[:12] for caller in (one, two, three)] == [b"HTTP/1.1 200"] * 3
    bench.check_idle()
