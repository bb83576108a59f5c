"""Limits as callers meet them over a real port: what they are told, and what the engine never sees."""

import hashlib
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
import yaml

from tests.contract.test_faults import metric, wait_until
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving
from tests.pictures import chat, data_url, picture

CHAT = "/v1/chat/completions"


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def engine_url(engine: FakeEngine) -> Iterator[str]:
    with serving(engine.app) as url:
        yield url


def write_keys(file: Path, tenants: dict[str, Any] | None = None, **limits: dict[str, Any]) -> dict[str, Any]:
    """A keys file: each name is a key of the tenant `lab`."""
    entries = [
        {"hash": f"sha256:{hashlib.sha256(key.encode()).hexdigest()}", "tenant": "lab", "scopes": ["inference"]}
        | {"limits": value}
        for key, value in limits.items()
    ]
    file.write_text(yaml.safe_dump({"keys": entries, "tenants": tenants or {}}))
    return {"keys_file": file, "keys_poll_s": 0.05}


def ask(url: str, key: str = "", **body: Any) -> httpx2.Response:
    return httpx2.post(url + CHAT, json={**chat(), **body}, headers={"x-api-key": key} if key else {})


def told(answer: httpx2.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("x-ratelimit")}


def test_callers_are_told_what_they_have_left_and_then_when_to_come_back(
    engine: FakeEngine, engine_url: str, tmp_path: Path
) -> None:
    auth = write_keys(tmp_path / "keys", ann={"requests": 2}, free={})
    with gateway(engine_url, auth=auth) as url:
        first = ask(url, "ann")
        assert first.status_code == 200
        assert told(first)["x-ratelimit-limit-requests"] == "2"
        assert told(first)["x-ratelimit-remaining-requests"] == "1"
        assert 29 < float(told(first)["x-ratelimit-reset-requests"].removesuffix("s")) <= 30
        assert ask(url, "ann", stream=True).status_code == 200
        refused = ask(url, "ann")
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (429, "rate_limit_exceeded")
        assert error["message"].startswith("This key may take 2 requests a minute: try again in ")
        assert 1 <= int(refused.headers["retry-after"]) <= 30
        assert told(refused)["x-ratelimit-remaining-requests"] == "0"
        assert told(ask(url, "free")) == {}
        assert metric(url, 'fovea_limit_refusals_total{budget="requests",of="key"}') == 1
        assert metric(url, "fovea_limit_store_up") == 1
    assert len(engine.chats) == 3


def test_a_request_larger_than_the_budget_is_told_so_at_once(
    engine: FakeEngine, engine_url: str, tmp_path: Path
) -> None:
    auth = write_keys(tmp_path / "keys", ann={"tokens": 1000, "images": 1})
    with gateway(engine_url, auth=auth) as url:
        refused = ask(url, "ann", max_tokens=2000)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "over_budget")
        assert "this key has 1000 a minute: it can never be taken" in refused.json()["error"]["message"]
        parts = [{"type": "image_url", "image_url": {"url": data_url(picture())}}] * 2
        refused = ask(url, "ann", messages=[{"role": "user", "content": parts}])
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "over_budget")
    assert engine.chats == []


def test_a_new_keys_file_changes_limits_and_forgets_nothing(engine_url: str, tmp_path: Path) -> None:
    auth = write_keys(tmp_path / "keys", ann={"requests": 1})
    with gateway(engine_url, auth=auth) as url:
        assert [ask(url, "ann").status_code for _ in range(2)] == [200, 429]
        write_keys(tmp_path / "keys", ann={"requests": 3})
        wait_until(lambda: ask(url, "ann").status_code == 200)
        assert [ask(url, "ann").status_code for _ in range(2)] == [200, 429]


def test_a_tenants_keys_share_what_the_file_gives_it(engine_url: str, tmp_path: Path) -> None:
    auth = write_keys(tmp_path / "keys", {"lab": {"limits": {"requests": 3}}}, ann={"requests": 2}, bob={})
    with gateway(engine_url, auth=auth, limits={"tenant": {"requests": 1}}) as url:
        assert [ask(url, "ann").status_code for _ in range(3)] == [200, 200, 429]
        assert [ask(url, "bob").status_code for _ in range(2)] == [200, 429]


def leave_while_it_runs(url: str, engine: FakeEngine) -> None:
    before, parts, body = len(engine.chats), urlsplit(url), json.dumps(chat()).encode()
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as connection:
        head = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        wait_until(lambda: len(engine.chats) == before + 1)


def test_places_are_free_again_when_requests_end_or_their_callers_leave(
    engine: FakeEngine, engine_url: str
) -> None:
    with gateway(engine_url, limits={"tenant": {"places": 2}}) as url, ThreadPoolExecutor(4) as pool:
        engine.go.clear()
        running = [pool.submit(ask, url) for _ in range(2)]
        wait_until(lambda: len(engine.chats) == 2)
        refused = ask(url)
        assert refused.status_code == 429
        assert "2 requests running" in refused.json()["error"]["message"]
        engine.go.set()
        assert [each.result().status_code for each in running] == [200, 200]
        engine.go.clear()
        for _ in range(2):
            leave_while_it_runs(url, engine)
        wait_until(lambda: metric(url, "fovea_requests_cancelled_total") == 2)
        engine.go.set()
        assert [ask(url).status_code for _ in range(5)] == [200] * 5


def test_what_no_engine_began_costs_a_request_and_nothing_else(engine: FakeEngine, engine_url: str) -> None:
    with gateway(engine_url, limits={"tenant": {"requests": 5, "tokens": 150}}) as url:
        engine.fail = 400
        assert [ask(url, max_tokens=100).status_code for _ in range(4)] == [400] * 4
        engine.fail = None
        answer = ask(url, max_tokens=100)
        assert answer.status_code == 200
        assert told(answer)["x-ratelimit-remaining-requests"] == "0"


@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1/responses"])
@pytest.mark.parametrize("stream", [False, True])
def test_tokens_are_paid_as_the_engine_counts_them(engine_url: str, path: str, stream: bool) -> None:
    """A thousand are drawn for an answer; the fake has counted a few dozen in all."""
    bodies = {
        CHAT: {**chat(), "max_tokens": 1000, "stream_options": {"include_usage": True} if stream else None},
        "/v1/messages": {"model": "demo", "max_tokens": 1000, "messages": [{"role": "user", "content": "hi"}]},
        "/v1/responses": {"model": "demo", "max_output_tokens": 1000, "input": "hi"},
    }
    body = {name: value for name, value in bodies[path].items() if value is not None}
    with gateway(engine_url, limits={"tenant": {"tokens": 1500}}) as url:
        answers = [httpx2.post(url + path, json={**body, "stream": stream}) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200] * 5
        left = [int(told(answer)["x-ratelimit-remaining-tokens"]) for answer in answers]
        assert 450 <= left[0] <= 500
        assert left[0] - 200 <= left[4] < left[0]


def test_a_stream_that_does_not_say_what_it_used_pays_what_it_drew(engine_url: str) -> None:
    with gateway(engine_url, limits={"tenant": {"tokens": 1500}}) as url:
        assert [ask(url, max_tokens=1000, stream=True).status_code for _ in range(2)] == [200, 429]


def test_messages_say_it_in_their_own_words(engine_url: str) -> None:
    with gateway(engine_url, limits={"tenant": {"requests": 1}}) as url:
        body = {"model": "demo", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
        answers = [httpx2.post(f"{url}/v1/messages", json=body) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]
        assert told(answers[0])["x-ratelimit-remaining-requests"] == "0"
        assert answers[1].json()["error"]["type"] == "rate_limit_error"
