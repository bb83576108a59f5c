"""The same gateway in front of the fake engine and of real vLLM; every answer is held to what is published."""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx2
import pytest

from tests.conftest import Stack
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.published import Exchange, violations


@dataclass(frozen=True)
class Target:
    http: httpx2.Client
    model: str


class PublishedOnly(httpx2.BaseTransport):
    """Fails the test whose answer, once read to its end, is not as published for its route and status."""

    def __init__(self) -> None:
        self._transport = httpx2.HTTPTransport()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = self._transport.handle_request(request)
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = Compared(response.stream, request, response)
        return response

    def close(self) -> None:
        self._transport.close()


class Compared(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream, request: httpx2.Request, response: httpx2.Response) -> None:
        self._stream, self._request, self._response = stream, request, response

    def __iter__(self) -> Iterator[bytes]:
        body = []
        for chunk in self._stream:
            body.append(chunk)
            yield chunk
        request, media_type = self._request, self._response.headers.get("content-type", "").partition(";")[0]
        path, status = request.url.path, self._response.status_code
        version = request.headers.get("anthropic-version")
        found = violations(Exchange(request.method, path, status, media_type, b"".join(body), version))
        assert not found, "\n".join(found)

    def close(self) -> None:
        self._stream.close()


@pytest.fixture(scope="module", params=["fake", "vllm"])
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    if request.param == "vllm":
        stack: Stack = request.getfixturevalue("fp8")
        with httpx2.Client(base_url=stack.url, timeout=120, transport=PublishedOnly()) as http:
            yield Target(http, stack.model)
        return
    from tests.fakes.serve import serving

    with (
        serving(FakeEngine().app) as engine,
        gateway(engine, http={"max_body": 4 * 1024**2}) as url,
        httpx2.Client(base_url=url, timeout=20, transport=PublishedOnly()) as http,
    ):
        yield Target(http, "demo")
