"""The same gateway in front of the fake engine and of real vLLM."""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx2
import pytest

from tests.conftest import Stack
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway


@dataclass(frozen=True)
class Target:
    http: httpx2.Client
    model: str


@pytest.fixture(scope="module", params=["fake", "vllm"])
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    if request.param == "vllm":
        stack: Stack = request.getfixturevalue("fp8")
        with httpx2.Client(base_url=stack.url, timeout=120) as http:
            yield Target(http, stack.model)
        return
    from tests.fakes.serve import serving

    with (
        serving(FakeEngine().app) as engine,
        gateway(engine, http={"max_body": 4 * 1024**2}) as url,
        httpx2.Client(base_url=url, timeout=20) as http,
    ):
        yield Target(http, "demo")
