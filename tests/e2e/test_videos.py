"""Videos through the gateway to real vLLM."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.conftest import Stack
from tests.containers import MP4, WEBM, mp4
from tests.e2e.test_openai_responses import image_lookups
from tests.fakes.gateway import gateway
from tests.pictures import chat, data_url, text_part


@pytest.fixture(scope="module")
def url(fp8: Stack) -> Iterator[str]:
    """A gateway that takes videos, before the same engine."""
    with gateway(fp8.engine, video={"max_count": 1}) as made:
        yield made


def ask(url: str, path: str, model: str, data: bytes) -> Any:
    part = {"type": "video_url", "video_url": {"url": data_url(data, "video/mp4")}}
    body = chat(part, text_part("What is in this picture?"), model=model)
    if path == "/tokenize":
        body = {"model": model, "messages": body["messages"]}
    return httpx2.post(url + path, json=body, timeout=120)


@pytest.mark.parametrize("data", [MP4, WEBM])
def test_a_video_is_answered_and_the_second_time_known(fp8: Stack, url: str, data: bytes) -> None:
    looked, had = image_lookups(fp8)
    for _ in range(2):
        answer = ask(url, "/v1/chat/completions", fp8.model, data)
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"]
    assert image_lookups(fp8) == (looked + 2, had + 1)
    assert ask(url, "/tokenize", fp8.model, data).json()["count"] == answer.json()["usage"]["prompt_tokens"]


def test_a_video_that_only_claims_to_be_one_is_the_engines_400(fp8: Stack, url: str) -> None:
    answer = ask(url, "/v1/chat/completions", fp8.model, mp4())
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "rejected_by_engine")
    assert ask(url, "/v1/chat/completions", fp8.model, MP4).status_code == 200


def test_the_stack_itself_takes_none(fp8: Stack) -> None:
    answer = ask(fp8.url, "/v1/chat/completions", fp8.model, MP4)
    assert answer.json()["error"]["code"] == "videos_not_taken"
