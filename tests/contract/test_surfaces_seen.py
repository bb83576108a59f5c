"""What an engine sees of a request, on every surface, and how a stream of responses ends."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest

from tests.contract.test_faults import metric, wait_until
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving
from tests.pictures import data_url, image_part, picture, text_part

RESPONSES = "/v1/responses"
PNG, JPEG = picture("PNG"), picture("JPEG")


def chat_body(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"model": "demo", "messages": [{"role": "user", "content": list(parts)}]}


def input_body(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"model": "demo", "input": [{"role": "user", "content": list(parts)}]}


def output_body(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"model": "demo", "input": [{"type": "function_call_output", "call_id": "c", "output": list(parts)}]}


def input_image(data: bytes) -> dict[str, Any]:
    return {"type": "input_image", "image_url": data_url(data)}


# Path, how it holds parts, how it writes an image.
SURFACES: dict[str, tuple[str, Any, Any]] = {
    "chat": ("/v1/chat/completions", chat_body, image_part),
    "responses": (RESPONSES, input_body, input_image),
    "responses: what a tool gave": (RESPONSES, output_body, input_image),
    "tokenize": ("/tokenize", chat_body, image_part),
}


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def url(engine: FakeEngine) -> Iterator[str]:
    with serving(engine.app) as engine_url, gateway(engine_url) as gateway_url:
        yield gateway_url


def seen_by(engine: FakeEngine) -> list[Any]:
    return engine.chats + engine.responses + engine.tokenized


def found(value: Any, key: str) -> list[Any]:
    """Every value of `key`, however deep."""
    if isinstance(value, list):
        return [each for item in value for each in found(item, key)]
    if isinstance(value, dict):
        return [v for k, v in value.items() if k == key] + [each for v in value.values() for each in found(v, key)]
    return []


def test_the_same_picture_is_the_same_on_every_surface_and_no_other_is(engine: FakeEngine, url: str) -> None:
    for path, body_of, image_of in SURFACES.values():
        answer = httpx2.post(url + path, json=body_of(image_of(PNG), image_of(JPEG)))
        assert answer.status_code == 200, answer.text
    identities = [found(body, "uuid") for body in seen_by(engine)]
    assert len(identities) == len(SURFACES)
    assert all(pair == identities[0] for pair in identities)
    assert len({*identities[0]}) == 2
    assert all(len(identity) == 64 for identity in identities[0])


@pytest.mark.parametrize("surface", SURFACES)
def test_a_callers_uuid_is_refused_before_any_engine_sees_it(engine: FakeEngine, url: str, surface: str) -> None:
    path, body_of, image_of = SURFACES[surface]
    for body in (
        body_of({**image_of(PNG), "uuid": "mine"}),
        {**body_of(image_of(PNG)), "uuid": "mine"},
        body_of(image_of(PNG), {**text_part("a"), "uuid": "mine"}),
    ):
        answer = httpx2.post(url + path, json=body)
        assert answer.status_code == 400, answer.text
        assert "mine" not in answer.text
    assert seen_by(engine) == []


@pytest.mark.parametrize("surface", SURFACES)
def test_no_url_reaches_an_engine(engine: FakeEngine, url: str, surface: str) -> None:
    path, body_of, image_of = SURFACES[surface]
    httpx2.post(url + path, json=body_of(image_of(PNG)))
    places = found(seen_by(engine), "image_url")
    assert len(places) == 1
    assert str(places[0]["url"] if isinstance(places[0], dict) else places[0]) == data_url(PNG)


def test_responses_pass_what_the_gateway_does_not_read(engine: FakeEngine, url: str) -> None:
    body = {
        **input_body({"type": "input_text", "text": "hi"}),
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
        "text": {"format": {"type": "json_object"}},
        "store": True,
    }
    httpx2.post(url + RESPONSES, json=body)
    assert engine.responses == [{**body, "store": False}]


def test_the_sdk_raises_when_an_engine_dies_inside_a_stream(engine: FakeEngine, url: str) -> None:
    engine.die_after = 6
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        stream = client.responses.create(model="demo", input="hi", stream=True)
        told = []
        with pytest.raises(openai.APIError) as caught:
            told.extend(event.type for event in stream)
    assert caught.value.code == "engine_failed"
    assert "response.completed" not in told


async def test_a_caller_that_hangs_up_after_the_response_has_not_left(engine: FakeEngine, url: str) -> None:
    body = {**input_body(input_image(PNG)), "stream": True}
    for _ in range(20):
        async with httpx2.AsyncClient() as http, http.stream("POST", url + RESPONSES, json=body) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: ") and '"response.completed"' in line:
                    break
    sample = 'fovea_requests_total{code="",model="demo",route="responses",status="200",tenant="-"}'
    await asyncio.to_thread(wait_until, lambda: metric(url, sample) == 20)
    assert metric(url, "fovea_requests_cancelled_total") == 0


async def test_a_caller_that_leaves_cancels_the_engines_work(engine: FakeEngine, url: str) -> None:
    engine.pause_s = 5
    async with httpx2.AsyncClient() as http:
        with pytest.raises(httpx2.TimeoutException):
            await http.post(url + RESPONSES, json={**input_body(input_image(PNG)), "stream": True}, timeout=1)
    await asyncio.to_thread(wait_until, lambda: engine.cancelled == 1)
    assert engine.finished == 0


def test_every_surface_goes_through_the_gate() -> None:
    """With one place and no queue, whoever comes second is sent away, whatever it asks for."""
    engine = FakeEngine()
    engine.pause_s = 1
    limits = {"max_running": 1, "max_waiting": 0}
    with (
        serving(engine.app) as engine_url,
        gateway(engine_url, admission=limits) as url,
        httpx2.stream("POST", url + "/v1/chat/completions", json={**chat_body(text_part("a")), "stream": True}),
    ):
        for path, body_of, image_of in SURFACES.values():
            answer = httpx2.post(url + path, json=body_of(image_of(PNG)))
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, "queue_full")
    assert engine.responses == engine.tokenized == []
