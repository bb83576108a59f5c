"""The gate as callers meet it: who is served first, who is told to wait, and that whatever was held comes back."""

import hashlib
import json
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from tests.contract.test_faults import wait_until
from tests.fakes.engine import METRICS, FakeEngine
from tests.fakes.gateway import gateway, metric
from tests.fakes.serve import serving
from tests.pictures import chat, text_part

CHAT = "/v1/chat/completions"
HELD = 'fovea_admission_held_tokens{model="demo"}'
PLACES = 'fovea_admission_held_places{model="demo"}'
CAPACITY = 'fovea_admission_capacity_tokens{model="demo"}'
BRAKE = 'fovea_admission_brake{model="demo"}'
WAITING = re.compile(r'^fovea_requests_waiting\{model="demo",priority="(\w+)"\} (\S+)$', re.MULTILINE)


def waiting(url: str, *classes: str) -> float:
    """How many wait, in all or in these classes."""
    found = WAITING.findall(httpx2.get(f"{url}/metrics").text)
    return sum(float(count) for name, count in found if not classes or name in classes)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def engine_url(engine: FakeEngine) -> Iterator[str]:
    with serving(engine.app) as url:
        yield url
        engine.go.set()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(40) as pool:
        yield pool


@contextmanager
def small_gateway(engine_url: str, **sections: Any) -> Iterator[str]:
    """One place, unless it is said otherwise."""
    sections["admission"] = {"max_running": 1, "refresh_s": 0.05, **sections.get("admission", {})}
    with gateway(engine_url, **sections) as url:
        yield url


def keys_file(path: Path, **entries: dict[str, Any]) -> dict[str, Any]:
    """Each name is a key of a tenant of that name."""
    keys = [
        {"hash": f"sha256:{hashlib.sha256(name.encode()).hexdigest()}", "tenant": name, "scopes": ["inference"]}
        | more
        for name, more in entries.items()
    ]
    path.write_text(yaml.safe_dump({"keys": keys}))
    return {"keys_file": path}


def ask(url: str, text: str = "hello", key: str = "", **headers: str) -> httpx2.Response:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if key:
        headers["x-api-key"] = key
    return httpx2.post(url + CHAT, json=chat(text_part(text)), headers=headers, timeout=30)


def texts(engine: FakeEngine) -> list[str]:
    """What the engine was asked, in that order."""
    return [body["messages"][0]["content"][0]["text"] for body in engine.chats]


@contextmanager
def busy(engine: FakeEngine, url: str, threads: ThreadPoolExecutor, **sending: Any) -> Iterator[None]:
    """The one place is taken as long as the block runs."""
    engine.go.clear()
    first = threads.submit(ask, url, "first", **sending)
    wait_until(lambda: metric(url, PLACES) == 1)
    try:
        yield
    finally:
        engine.go.set()
    assert first.result().status_code == 200


def queue(url: str, threads: ThreadPoolExecutor, *requests: dict[str, Any]) -> list[Future[httpx2.Response]]:
    """All wait, in this order."""
    found = []
    for request in requests:
        before = waiting(url)
        found.append(threads.submit(ask, url, **request))
        wait_until(lambda before=before: waiting(url) == before + 1)
    return found


def test_a_tenant_that_floods_delays_itself_and_not_the_quiet_one(
    engine: FakeEngine, engine_url: str, threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    auth = keys_file(tmp_path / "keys", flood={}, quiet={})
    with small_gateway(engine_url, auth=auth) as url, busy(engine, url, threads, key="flood"):
        flood = queue(url, threads, *({"text": f"flood {n}", "key": "flood"} for n in range(12)))
        quiet = queue(url, threads, *({"text": f"quiet {n}", "key": "quiet"} for n in range(2)))
        engine.go.set()
        assert {answer.result().status_code for answer in flood + quiet} == {200}
    asked = texts(engine)
    assert max(asked.index("quiet 0"), asked.index("quiet 1")) <= 5
    assert [text for text in asked if text.startswith("flood")] == [f"flood {n}" for n in range(12)]


def test_in_a_full_line_the_flood_gives_way(
    engine: FakeEngine, engine_url: str, threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    auth = keys_file(tmp_path / "keys", flood={}, quiet={})
    settings = {"max_waiting": 3}
    with small_gateway(engine_url, auth=auth, admission=settings) as url, busy(engine, url, threads, key="flood"):
        flood = queue(url, threads, *({"text": f"flood {n}", "key": "flood"} for n in range(3)))
        quiet = threads.submit(ask, url, "quiet", "quiet")
        refused = flood[2].result()
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        engine.go.set()
        assert [answer.result().status_code for answer in (*flood[:2], quiet)] == [200] * 3
    assert "flood 2" not in texts(engine)


def test_interactive_requests_go_first_and_batch_does_not_stand_still(
    engine: FakeEngine, engine_url: str, threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    auth = keys_file(tmp_path / "keys", bulk={"priority": "batch"}, people={"priority": "interactive"})
    with small_gateway(engine_url, auth=auth) as url, busy(engine, url, threads, key="bulk"):
        bulk = queue(url, threads, *({"text": f"bulk {n}", "key": "bulk"} for n in range(4)))
        people = queue(url, threads, *({"text": f"people {n}", "key": "people"} for n in range(6)))
        assert (waiting(url, "batch"), waiting(url, "interactive")) == (4, 6)
        engine.go.set()
        assert {answer.result().status_code for answer in bulk + people} == {200}
    asked = texts(engine)
    assert max(asked.index(f"people {n}") for n in range(6)) <= 7  # behind the first, and one of the batch
    assert asked.index("bulk 0") <= 3


def test_a_request_may_ask_for_less_than_its_key_may_and_never_for_more(
    engine: FakeEngine, engine_url: str, threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    auth = keys_file(tmp_path / "keys", plain={})
    with small_gateway(engine_url, auth=auth) as url, busy(engine, url, threads, key="plain"):
        low = queue(url, threads, {"key": "plain", "x_fovea_priority": "batch"})
        assert waiting(url, "batch") == 1
        high = ask(url, key="plain", x_fovea_priority="interactive")
        assert (high.status_code, high.json()["error"]["code"]) == (403, "priority_not_allowed")
        for wrong in ({"x_fovea_priority": "now"}, {"x_request_timeout": "soon"}, {"x_request_timeout": "-1"}):
            answer = ask(url, key="plain", **wrong)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
        engine.go.set()
        assert low[0].result().status_code == 200


@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1/responses", "/tokenize"])
def test_whoever_waits_in_vain_is_told_at_its_deadline_and_no_engine_was_asked(
    engine: FakeEngine, engine_url: str, threads: ThreadPoolExecutor, path: str
) -> None:
    bodies = {"/v1/responses": {"model": "demo", "input": "a"}, "/tokenize": {"model": "demo", "prompt": "a"}}
    with small_gateway(engine_url) as url, busy(engine, url, threads):
        body = bodies.get(path, chat(max_tokens=8) if path == CHAT else messages("a"))
        answer = httpx2.post(url + path, json=body, headers={"x-request-timeout": "0.3"}, timeout=20)
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "waited_too_long")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert waiting(url) == 0
    assert len(engine.chats) == 1
    assert engine.responses == engine.tokenized == []


def messages(text: str) -> dict[str, Any]:
    return {"model": "demo", "max_tokens": 8, "messages": [{"role": "user", "content": text}]}


def test_retry_after_is_made_of_what_waits_and_the_time_that_it_takes(
    engine: FakeEngine, engine_url: str, threads: ThreadPoolExecutor
) -> None:
    engine.pause_s = 0.02  # some ten answers a second, at most
    with small_gateway(engine_url, admission={"max_waiting": 15}) as url:
        answers = [threads.submit(ask, url) for _ in range(16)]
        wait_until(lambda: len(engine.chats) > 4)  # a rate has been measured
        answers += [threads.submit(ask, url) for _ in range(24)]
        refused = [answer.result() for answer in answers if answer.result().status_code != 200]
    assert {answer.json()["error"]["code"] for answer in refused} == {"queue_full"}
    told = [int(answer.headers["retry-after"]) for answer in refused]
    assert 2 <= max(told) <= 30


def test_who_leaves_the_line_frees_its_place_in_it(
    engine: FakeEngine, engine_url: str, threads: ThreadPoolExecutor
) -> None:
    with small_gateway(engine_url, admission={"max_waiting": 1}) as url, busy(engine, url, threads):
        for _ in range(3):
            with pytest.raises(httpx2.TimeoutException):
                httpx2.post(url + CHAT, json=chat(), timeout=0.3)
            wait_until(lambda: waiting(url) == 0)
        last = queue(url, threads, {})
        engine.go.set()
        assert last[0].result().status_code == 200
    assert len(engine.chats) == 2


def test_a_stream_holds_its_place_until_its_end(engine: FakeEngine, engine_url: str) -> None:
    engine.go.clear()
    with small_gateway(engine_url, admission={"max_waiting": 0}) as url:
        with httpx2.stream("POST", url + CHAT, json=chat(stream=True), timeout=20) as answer:
            frames = answer.iter_raw()
            assert next(frames)
            assert ask(url).json()["error"]["code"] == "queue_full"
            # The question (24 bytes are 6 tokens) and its template's 8, 8 of an answer, and 569 of any request with
            # this engine's state.
            assert metric(url, HELD) == 6 + 8 + 8 + round(2.5 * 621_226 / 2730)
            engine.go.set()
            assert b"[DONE]" in b"".join(frames)
        wait_until(lambda: metric(url, HELD) == metric(url, PLACES) == 0)
        assert ask(url).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("how", ["refuses", "fails", "dies"])
def test_however_an_engine_ends_a_request_its_place_is_free(
    engine: FakeEngine, engine_url: str, how: str, stream: bool
) -> None:
    with small_gateway(engine_url, admission={"max_waiting": 0}) as url:
        for _ in range(3):
            engine.fail = {"refuses": 400, "fails": 500}.get(how)
            engine.die_after = 2 if how == "dies" else None
            httpx2.post(url + CHAT, json=chat(stream=stream), timeout=20)
            wait_until(lambda: metric(url, PLACES) == 0)
            engine.fail = engine.die_after = None
            wait_until(lambda: httpx2.get(f"{url}/health/ready").status_code == 200)
            assert ask(url).status_code == 200


def test_callers_that_leave_give_back_what_they_held(engine: FakeEngine, engine_url: str) -> None:
    engine.go.clear()
    with small_gateway(engine_url, admission={"max_waiting": 0}) as url:
        for stream in (False, True):
            with pytest.raises(httpx2.TimeoutException):
                httpx2.post(url + CHAT, json=chat(stream=stream), timeout=0.3)
            wait_until(lambda: metric(url, HELD) == metric(url, PLACES) == 0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_ends_at_its_deadline_wherever_it_is_then(
    engine: FakeEngine, engine_url: str, stream: bool
) -> None:
    """The fake engine waits before a whole answer, and in a stream after its first event."""
    engine.go.clear()
    with small_gateway(engine_url) as url:
        headers = {"x-request-timeout": "0.5"}
        answer = httpx2.post(url + CHAT, json=chat(stream=stream), headers=headers, timeout=20)
        last = answer.text.strip().split("\n\n")[-1].removeprefix("data: ")
        assert answer.status_code == (200 if stream else 504)
        assert json.loads(last)["error"]["code"] == "deadline_exceeded"
        wait_until(lambda: metric(url, HELD) == metric(url, PLACES) == 0)
        engine.go.set()
        wait_until(lambda: engine.cancelled == 1)
        assert ask(url).status_code == 200


def telling(usage: float, running: int, waiting: int) -> str:
    """An engine's metrics."""
    now = {"num_requests_running": running, "num_requests_waiting": waiting, "kv_cache_usage_perc": usage}
    told = METRICS
    for name, value in now.items():
        told = re.sub(rf"(?m)^(vllm:{name}\{{.*\}}) .*$", rf"\1 {value}", told)
    return told


def test_capacity_is_what_the_engine_reports_and_less_while_its_cache_is_full(
    engine: FakeEngine, engine_url: str, threads: ThreadPoolExecutor
) -> None:
    with small_gateway(engine_url, admission={"max_running": 8}) as url:
        assert ask(url).status_code == 200
        assert metric(url, CAPACITY) == 621_226
        with busy(engine, url, threads):
            engine.tells = telling(0.97, 1, 0)
            wait_until(lambda: metric(url, BRAKE) == 1)
            braked = metric(url, CAPACITY)
            assert braked < 0.1 * 621_226  # one short request was enough to fill it
            engine.tells = telling(0.5, 1, 0)
            wait_until(lambda: metric(url, BRAKE) == 0)


def test_places_come_down_to_what_the_engine_runs(engine: FakeEngine, engine_url: str) -> None:
    capacity = 'fovea_admission_capacity_places{model="demo"}'
    engine.go.clear()
    with gateway(engine_url, admission={"refresh_s": 0.05}) as url, ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(ask, url) for _ in range(20)]
        wait_until(lambda: metric(url, PLACES) == 20)
        assert metric(url, capacity) == 64
        engine.tells = telling(0.3, 5, 15)
        wait_until(lambda: metric(url, capacity) == 5)
        engine.tells = telling(0.3, 5, 0)
        late = [pool.submit(ask, url) for _ in range(3)]
        engine.go.set()
        assert {answer.result().status_code for answer in answers + late} == {200}
