"""/v1/messages when engines or callers misbehave, and what the engine sees of it. Only a fake one shows that."""

import asyncio
import hashlib
import logging
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.contract.test_faults import metric, wait_until
from tests.contract.test_messages import MESSAGES, image_block, message, text_block
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving
from tests.pictures import chat, data_url, image_part, picture
from tests.unit.api.messages.chunks import told, types

RED = picture(colour="red")


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def url(engine: FakeEngine) -> Iterator[str]:
    with serving(engine.app) as engine_url, gateway(engine_url) as gateway_url:
        yield gateway_url


def parts_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The picture parts of a chat that an engine was sent."""
    lists = [each["content"] for each in body["messages"] if isinstance(each["content"], list)]
    return [part for parts in lists for part in parts if part["type"] == "image_url"]


def test_the_engine_sees_one_picture_under_one_identity_whatever_the_surface(engine: FakeEngine, url: str) -> None:
    httpx2.post(url + "/v1/chat/completions", json=chat(image_part(RED)))
    httpx2.post(url + MESSAGES, json=message(image_block(RED, "image/gif")))
    result = {"type": "tool_result", "tool_use_id": "call-1", "content": [image_block(RED)]}
    httpx2.post(url + MESSAGES, json=message(result))
    parts = [part for body in engine.chats for part in parts_of(body)]
    assert len(parts) == 3
    assert {part["uuid"] for part in parts} == {parts[0]["uuid"]}
    # It holds the picture from then on: its name is enough.
    assert [part["image_url"] for part in parts] == [{"url": data_url(RED)}, None, None]


def test_equal_pictures_of_two_tenants_have_two_identities() -> None:
    engine = FakeEngine()
    keys = {hashlib.sha256(name.encode()).hexdigest(): name for name in ("ann", "bob")}
    with serving(engine.app) as engine_url, gateway(engine_url, auth={"key_hashes": keys}) as url:
        for key in ("ann", "bob"):
            answer = httpx2.post(url + MESSAGES, json=message(image_block(RED)), headers={"x-api-key": key})
            assert answer.status_code == 200
        refused = httpx2.post(url + MESSAGES, json=message(), headers={"x-api-key": "eve"})
    assert (refused.status_code, refused.json()["error"]["type"]) == (401, "authentication_error")
    ann, bob = (parts_of(body)[0]["uuid"] for body in engine.chats)
    assert ann != bob


@pytest.mark.parametrize(
    ("fail", "status", "kind", "code"),
    [
        (500, 502, "api_error", "engine_failed"),
        (429, 429, "rate_limit_error", "overloaded"),
        (400, 400, "invalid_request_error", "rejected_by_engine"),
    ],
)
def test_an_engine_that_fails_is_told_in_anthropics_words(
    engine: FakeEngine, url: str, fail: int, status: int, kind: str, code: str
) -> None:
    engine.fail = fail
    answer = httpx2.post(url + MESSAGES, json=message())
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (status, kind, code)
    assert ("retry-after" in answer.headers) is (status == 429)


def test_no_engine_at_all_is_an_overload(engine: FakeEngine) -> None:
    engine.healthy = False
    with serving(engine.app) as engine_url, gateway(engine_url, wait=False) as url:
        answer = httpx2.post(url + MESSAGES, json=message())
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "overloaded_error")


def test_an_engine_that_dies_mid_stream_ends_it_with_an_error_event(engine: FakeEngine, url: str) -> None:
    engine.die_after = 2
    answer = httpx2.post(url + MESSAGES, json=message(stream=True))
    events = told(answer.content)
    assert answer.status_code == 200
    assert types(events) == ["message_start", "start", "delta", "error"]
    assert (events[-1]["error"]["type"], events[-1]["error"]["code"]) == ("api_error", "engine_failed")
    assert (
        metric(
            url, 'fovea_requests_total{code="engine_failed",model="demo",route="messages",status="502",tenant="-"}'
        )
        == 1
    )


@pytest.mark.parametrize("stream", [True, False])
async def test_a_caller_that_leaves_cancels_the_engines_work(engine: FakeEngine, url: str, stream: bool) -> None:
    engine.pause_s = 5
    async with httpx2.AsyncClient() as http:
        with pytest.raises(httpx2.TimeoutException):
            await http.post(url + MESSAGES, json=message(stream=stream), timeout=1)
    if stream:
        await asyncio.to_thread(wait_until, lambda: engine.cancelled == 1)
    await asyncio.to_thread(wait_until, lambda: metric(url, "fovea_requests_cancelled_total") == 1)
    assert engine.finished == 0
    assert metric(url, 'fovea_engine_requests_running{engine="engine-0"}') == 0
    assert metric(url, "fovea_requests_in_flight") == 0


async def test_a_caller_that_leaves_inside_a_stream_cancels_the_engines_work(engine: FakeEngine, url: str) -> None:
    engine.pause_s = 0.3
    async with (
        httpx2.AsyncClient() as http,
        http.stream("POST", url + MESSAGES, json=message(stream=True)) as answer,
    ):
        async for line in answer.aiter_lines():
            if "content_block_delta" in line:
                break
    await asyncio.to_thread(wait_until, lambda: engine.cancelled == 1)
    await asyncio.to_thread(wait_until, lambda: metric(url, "fovea_requests_cancelled_total") == 1)


async def test_a_caller_that_hangs_up_after_the_last_event_has_not_left(engine: FakeEngine, url: str) -> None:
    for _ in range(20):
        async with (
            httpx2.AsyncClient() as http,
            http.stream("POST", url + MESSAGES, json=message(stream=True)) as answer,
        ):
            async for line in answer.aiter_lines():
                if line == 'data: {"type":"message_stop"}':
                    break
    sample = 'fovea_requests_total{code="",model="demo",route="messages",status="200",tenant="-"}'
    await asyncio.to_thread(wait_until, lambda: metric(url, sample) == 20)
    assert metric(url, "fovea_requests_cancelled_total") == 0


def test_nothing_is_held_once_the_answer_begins(engine: FakeEngine, url: str) -> None:
    engine.pause_s = 0.3
    body = message(image_block(RED), stream=True)
    with httpx2.stream("POST", url + MESSAGES, json=body, timeout=20) as response:
        frames = response.iter_raw()
        assert b"message_start" in next(frames)
        assert metric(url, "fovea_requests_in_flight") == 1
        assert metric(url, "fovea_bytes_in_flight") == 0
        assert b"message_stop" in b"".join(frames)


def test_nothing_is_logged_that_a_caller_sent(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "MARKER" * 20
    broken = {"type": "image", "source": {"type": "base64", "media_type": secret, "data": secret}}
    elsewhere = {"type": "image", "source": {"type": "url", "url": f"https://127.0.0.1/{secret}"}}
    unknown = {"type": secret}
    for body in (
        message(text_block(secret), system=secret, metadata={"user_id": secret}),
        message(broken),
        message(elsewhere),
        message(unknown),
        message(**{secret: 1}),
    ):
        httpx2.post(url + MESSAGES, json=body, headers={"x-api-key": secret})
    assert "req-" in caplog.text
    assert "MARKER" not in caplog.text
    assert "MARKER" not in httpx2.get(f"{url}/metrics").text
