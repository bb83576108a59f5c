"""A gateway that keeps the files of two tenants, ann and bob, before a fake engine."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from tests.contract.conftest import PublishedOnly
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving
from tests.pictures import picture

CHAT = "/v1/chat/completions"
RED = picture(colour="red")
ANTHROPIC = {"x-api-key": "ann", "anthropic-version": "2023-06-01"}
KEYS = {hashlib.sha256(name.encode()).hexdigest(): name for name in ("ann", "bob")}


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def engine_url(engine: FakeEngine) -> Iterator[str]:
    with serving(engine.app) as url:
        yield url


@pytest.fixture
def url(engine_url: str, tmp_path: Path) -> Iterator[str]:
    files = {"path": tmp_path / "files", "tenant_files": 5, "tenant_bytes": 100_000}
    with gateway(engine_url, auth={"key_hashes": KEYS}, files=files) as made:
        yield made


def sdk(url: str, key: str = "ann") -> openai.OpenAI:
    """OpenAI's own; whatever it is answered has to be as published."""
    http = httpx2.Client(transport=PublishedOnly(), timeout=20)
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, http_client=http)


@pytest.fixture
def ann(url: str) -> Iterator[openai.OpenAI]:
    with sdk(url) as client:
        yield client


@pytest.fixture
def bob(url: str) -> Iterator[openai.OpenAI]:
    with sdk(url, "bob") as client:
        yield client


def put(client: openai.OpenAI, data: bytes = RED, **options: Any) -> Any:
    return client.files.create(**{"file": ("a.png", data), "purpose": "vision", **options})


def parts(folder: Path) -> list[Path]:
    return list(folder.glob("incoming/*/*.part"))


def blobs(folder: Path) -> list[Path]:
    return list(folder.glob("blobs/*/*"))
