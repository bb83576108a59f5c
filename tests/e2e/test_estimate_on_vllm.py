"""The tokens of pictures that /v1/estimate tells beforehand are those that real vLLM counts afterwards."""

from typing import Any

import httpx2
import pytest

from tests.conftest import Stack
from tests.pictures import data_url, picture

SIZES = ((64, 48), (448, 448), (640, 480), (900, 150), (150, 900), (33, 500))


def body_of(model: str, text: str, sizes: tuple[tuple[int, int], ...] = ()) -> dict[str, Any]:
    urls = [data_url(picture("PNG", size=size)) for size in sizes]
    content = [{"type": "image_url", "image_url": {"url": url}} for url in urls] + [{"type": "text", "text": text}]
    return {"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": content}]}


@pytest.fixture
def http(fp8: Stack) -> Any:
    with httpx2.Client(base_url=fp8.url, timeout=120) as client:
        yield client


def told(http: httpx2.Client, body: dict[str, Any]) -> Any:
    answer = http.post("/v1/estimate", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def counted(http: httpx2.Client, body: dict[str, Any]) -> int:
    answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    tokens: int = answer.json()["usage"]["prompt_tokens"]
    return tokens


@pytest.mark.parametrize("sizes", [*((size,) for size in SIZES), SIZES[:3]])
def test_the_tokens_of_pictures_are_exact(
    http: httpx2.Client, fp8: Stack, sizes: tuple[tuple[int, int], ...]
) -> None:
    estimate = told(http, body_of(fp8.model, "Hi", sizes))
    with_pictures, without = (counted(http, body_of(fp8.model, "Hi", some)) for some in (sizes, ()))
    assert estimate["image_tokens"] == with_pictures - without
    assert estimate["complete"]
