"""POST /v1/estimate, and what engines count of what was asked."""

import base64
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.conftest import DEMO_MODEL
from tests.contract.test_faults import wait_until
from tests.fakes.engine import METRICS, FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving
from tests.pictures import data_url, picture

PNG = picture()  # 64 x 48
ASK = {"model": "demo", "max_tokens": 8}
WORDS = "Tell me what is in this picture, and in which colours it is drawn."
IMAGE = {"type": "image_url", "image_url": {"url": data_url(PNG)}}
FILE = {"type": "image_url", "image_url": {"url": "file:///x"}}
CONTENT = [IMAGE, {"type": "text", "text": WORDS}]
CHAT = {**ASK, "messages": [{"role": "user", "content": CONTENT}]}


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def http(engine: FakeEngine) -> Iterator[httpx2.Client]:
    with (
        serving(engine.app) as url,
        gateway(url, admission={"preprocessor": DEMO_MODEL}) as gate,
        httpx2.Client(base_url=gate, timeout=20) as client,
    ):
        yield client


def estimate(http: httpx2.Client, body: dict[str, Any], route: str = "") -> Any:
    answer = http.post("/v1/estimate", params={"route": route} if route else {}, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_arithmetic_is_told_and_no_engine_is_called(http: httpx2.Client, engine: FakeEngine) -> None:
    told = estimate(http, CHAT)
    image = told["images"][0]
    assert (image["width"], image["height"], image["rule"]) == (64, 48, "qwen-vl")
    assert image["tokens"] == told["image_tokens"] > 2
    assert told["text"]["bytes"] == len(WORDS)
    assert told["prompt_tokens"] == told["image_tokens"] + told["text"]["tokens"]
    assert told["total_tokens"] == told["prompt_tokens"] + 8
    assert (told["context"], told["fits"], told["complete"]) == (4096, True, True)
    assert told["kv"]["bytes"] == round(told["total_tokens"] * 2**30 / 621226)
    assert (told["kv"]["fits_ever"], told["kv"]["fits_now"]) == (True, True)
    assert engine.chats == []


def test_every_route_is_estimated_alike(http: httpx2.Client) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PNG).decode()}
    message = [{"type": "image", "source": source}, {"type": "text", "text": WORDS}]
    parts = [{"type": "input_image", "image_url": data_url(PNG)}, {"type": "input_text", "text": WORDS}]
    responses = {"model": "demo", "max_output_tokens": 8, "input": [{"role": "user", "content": parts}]}
    told = [
        estimate(http, CHAT),
        estimate(http, CHAT, "chat"),
        estimate(http, responses),
        estimate(http, {**ASK, "messages": [{"role": "user", "content": message}]}, "messages"),
    ]
    assert [each["total_tokens"] for each in told] == [told[0]["total_tokens"]] * 4
    assert estimate(http, {**ASK, "prompt": WORDS})["image_tokens"] == 0


def test_what_can_never_fit_is_told_with_the_sum_that_refuses_it(http: httpx2.Client) -> None:
    body = {**CHAT, "max_tokens": 4096}
    told = estimate(http, body)
    assert not told["fits"]
    refused = http.post("/v1/chat/completions", json=body)
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, told["refusal"])


# As vLLM would tell it of 9 blocks, 2 of which are any request's state: 7 * 256 tokens are left for one.
SMALL = METRICS.replace('"2730"', '"9"').replace("621226", "2048").replace("151.66666666666666", "0.5")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_what_no_engines_kv_cache_can_hold_is_refused_with_the_sum_though_the_context_allows_it(path: str) -> None:
    """Let in, it would wait until all others have ended and go alone, in vain."""
    engine = FakeEngine()
    engine.tells = SMALL
    asked = {"model": "demo", "max_tokens": 1792, "messages": [{"role": "user", "content": "Hi"}]}
    with serving(engine.app) as url, gateway(url) as gate, httpx2.Client(base_url=gate, timeout=20) as http:
        told = estimate(http, asked)
        assert (told["context"], told["fits"], told["refusal_code"]) == (4096, False, "kv_cache_exceeded")
        assert (told["kv"]["engine_tokens"], told["kv"]["fits_ever"]) == (1792, False)
        assert "2 bytes of text have at least 1: 1793 of 1792 that the KV cache" in told["refusal"]
        refused = http.post(path, json=asked)
        error = refused.json()["error"]
        assert (refused.status_code, error["code"], error["message"]) == (400, "kv_cache_exceeded", told["refusal"])
        assert engine.chats == []
        assert http.post(path, json={**asked, "max_tokens": 1791}).status_code == 200


def test_what_one_of_several_engines_can_hold_is_not_refused() -> None:
    large, small = FakeEngine(), FakeEngine()
    small.tells = SMALL
    asked = {"model": "demo", "max_tokens": 4000, "messages": [{"role": "user", "content": "Hi"}]}
    with (
        serving(large.app) as one,
        serving(small.app) as two,
        gateway(one, two) as gate,
        httpx2.Client(base_url=gate, timeout=20) as http,
    ):
        wait_until(lambda: estimate(http, asked)["fits"])
        assert http.post("/v1/chat/completions", json=asked).status_code == 200
        large.tells = SMALL
        wait_until(lambda: not estimate(http, asked)["fits"])
        assert http.post("/v1/chat/completions", json=asked).status_code == 400


@pytest.mark.parametrize(
    ("body", "route", "code"),
    [
        (CHAT, "tokenize", "invalid_request"),
        ({**CHAT, "model": "another"}, "", "model_not_found"),
        ({**CHAT, "kv_transfer_params": {}}, "", "field_not_allowed"),
        ({**ASK, "messages": [{"role": "user", "content": [FILE]}]}, "", "image_url_refused"),
    ],
)
def test_what_no_route_takes_is_not_estimated(http: httpx2.Client, body: Any, route: str, code: str) -> None:
    answer = http.post("/v1/estimate", params={"route": route} if route else {}, json=body)
    assert answer.status_code in (400, 404)
    assert code in answer.json()["error"]["code"]


def test_an_engine_that_tells_nothing_of_its_memory_leaves_it_open(engine: FakeEngine) -> None:
    engine.tells = ""
    with serving(engine.app) as url, gateway(url) as gate:
        told = httpx2.post(f"{gate}/v1/estimate", json=CHAT).json()
    assert set(told["kv"].values()) == {None}
    assert (told["complete"], told["images"][0]["tokens"]) == (False, None)


def tokens(http: httpx2.Client) -> dict[str, float]:
    lines = http.get("/metrics").text.splitlines()
    found = [line for line in lines if line.startswith("fovea_tokens_total{")]
    return {line.split('kind="')[1].split('"')[0]: float(line.split()[-1]) for line in found}


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/chat/completions", {}),
        ("/v1/chat/completions", {"stream": True, "stream_options": {"include_usage": True}}),
        ("/v1/messages", {}),
        ("/v1/messages", {"stream": True}),
    ],
)
def test_what_engines_count_is_counted(http: httpx2.Client, path: str, more: dict[str, Any]) -> None:
    body = {**ASK, **more, "messages": [{"role": "user", "content": "Hi"}]}
    assert http.post(path, json=body).status_code == 200
    assert tokens(http) == {"prompt": 20.0, "completion": 5.0}


def test_what_engines_count_corrects_the_estimate_of_text(http: httpx2.Client) -> None:
    """The fake engine counts 20 tokens in every prompt, of which eight are the template's."""
    body = {**ASK, "messages": [{"role": "user", "content": "x" * 96}]}
    assert estimate(http, body)["text"]["tokens"] == 32
    for _ in range(3):
        http.post("/v1/chat/completions", json=body)
    text = estimate(http, body)["text"]
    assert (text["tokens"], text["bytes_per_token"], text["calibrated_by"]) == (20, 8.0, 3)
