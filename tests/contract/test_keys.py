"""API keys as callers meet them over a real port: headers, scopes, and what the engine never sees."""

import hashlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from server.app import make_app
from server.errors import ConfigError
from server.settings import Settings
from tests.contract.test_faults import wait_until
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving
from tests.pictures import chat

CHAT = "/v1/chat/completions"


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def engine_url(engine: FakeEngine) -> Iterator[str]:
    with serving(engine.app) as url:
        yield url


def code_of(response: Any) -> tuple[int, str]:
    return response.status_code, response.json().get("error", {}).get("code", "")


def send_raw(url: str, *header_lines: bytes) -> bytes:
    """The status line's status of a request whose headers no client would send."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        lines = [b"GET /v1/models HTTP/1.1", b"host: gateway", b"connection: close", *header_lines]
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        return connection.makefile("rb").readline().split()[1]


def test_either_header_opens_and_nothing_else(engine: FakeEngine, engine_url: str) -> None:
    with gateway(engine_url, auth={"key_hashes": {digest("good"): "lab"}}) as url:
        for headers in ({"authorization": "Bearer good"}, {"x-api-key": "good"}):
            assert httpx2.post(url + CHAT, json=chat(), headers=headers).status_code == 200
        for path in (CHAT, "/v1/completions"):
            refused = httpx2.post(url + path, json=chat(), headers={"x-api-key": "bad"})
            assert code_of(refused) == (401, "invalid_api_key")
            assert refused.headers["www-authenticate"] == "Bearer"
        for path in ("/v1/models", "/v1/models/demo"):
            assert code_of(httpx2.get(url + path)) == (401, "invalid_api_key")
        for path in ("/health/live", "/health/ready", "/metrics"):
            assert httpx2.get(url + path).status_code == 200
    assert len(engine.chats) == 2


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((b"authorization: Bearer good",), b"200"),
        ((b"Authorization:bearer good",), b"200"),
        ((b"authorization: Bearer good", b"authorization: Bearer good"), b"401"),
        ((b"authorization: Bearer good", b"x-api-key: bad"), b"401"),
        ((b"authorization: Bearer bad", b"x-api-key: good"), b"401"),
        ((b"authorization: Basic good", b"x-api-key: good"), b"401"),
        ((b"authorization: Bearer g\xffood",), b"401"),
        ((b"authorization: Bearer ", b"x-api-key: good"), b"401"),
        ((b"authorization: Bearer " + b"x" * 4_000,), b"401"),
        ((b"authorization: Bearer " + b"x" * 40_000,), b"431"),
        ((b"authorization: Bearer good\x00",), b"400"),
        ((b"authorization: Bearer\r\n good",), b"400"),
    ],
)
def test_hostile_headers_open_nothing(engine_url: str, lines: tuple[bytes, ...], status: bytes) -> None:
    with gateway(engine_url, auth={"key_hashes": {digest("good"): "lab"}}) as url:
        assert send_raw(url, *lines) == status


def test_a_body_is_not_read_before_its_key(engine_url: str) -> None:
    """The length that is declared is never sent: whoever waited for it would not answer."""
    with gateway(engine_url, auth={"key_hashes": {digest("good"): "lab"}}) as url:
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
            connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-length: 1000\r\n\r\n")
            assert connection.makefile("rb").readline().split()[1] == b"401"


def test_keys_of_the_quick_start_may_not_read_protected_metrics(engine_url: str) -> None:
    with gateway(engine_url, auth={"key_hashes": {digest("good"): "lab"}, "protect_metrics": True}) as url:
        assert code_of(httpx2.get(f"{url}/metrics")) == (401, "invalid_api_key")
        refused = httpx2.get(f"{url}/metrics", headers={"x-api-key": "good"})
        assert code_of(refused) == (403, "insufficient_scope")
        assert refused.headers["www-authenticate"] == 'Bearer error="insufficient_scope"'
        assert httpx2.get(f"{url}/v1/models", headers={"x-api-key": "good"}).status_code == 200


def keys_yaml(**scopes: str) -> str:
    entries = (
        f"- {{hash: 'sha256:{digest(key)}', tenant: {key}, scopes: {value}}}\n" for key, value in scopes.items()
    )
    return "keys:\n" + "".join(entries)


def test_a_keys_file_decides_who_may_do_what_and_changes_without_a_restart(engine_url: str, tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(keys_yaml(ann="[inference]", scraper="[admin]", lake="[files]"))
    auth = {"keys_file": file, "keys_poll_s": 0.05, "protect_metrics": True}
    with gateway(engine_url, auth=auth) as url:

        def status(path: str, key: str) -> int:
            return httpx2.get(url + path, headers={"x-api-key": key}).status_code

        seen = {
            (path, key): status(path, key)
            for path in ("/v1/models", "/metrics")
            for key in ("ann", "scraper", "lake", "eve")
        }
        assert seen == {
            ("/v1/models", "ann"): 200,
            ("/v1/models", "scraper"): 403,
            ("/v1/models", "lake"): 403,
            ("/v1/models", "eve"): 401,
            ("/metrics", "ann"): 403,
            ("/metrics", "scraper"): 200,
            ("/metrics", "lake"): 403,
            ("/metrics", "eve"): 401,
        }
        file.write_text("keys: [oops")
        metrics = {"x-api-key": "scraper"}
        wait_until(lambda: "fovea_keys_file_broken 1.0" in httpx2.get(f"{url}/metrics", headers=metrics).text)
        assert status("/v1/models", "ann") == 200
        file.write_text(keys_yaml(eve="[inference]"))
        wait_until(lambda: status("/v1/models", "eve") == 200)
        assert status("/v1/models", "ann") == 401
        file.write_text("keys: []")
        wait_until(lambda: status("/v1/models", "eve") == 401)
        assert httpx2.get(f"{url}/v1/models").status_code == 401


def test_a_broken_keys_file_stops_the_start(tmp_path: Path) -> None:
    auth = {"keys_file": tmp_path / "none"}
    with pytest.raises(ConfigError, match="cannot read the keys file"):
        make_app(Settings(engines={"urls": ["http://127.0.0.1:1"]}, auth=auth))


@pytest.mark.parametrize(
    ("host", "auth", "warnings"),
    [
        ("127.0.0.1", {}, 0),
        ("::1", {}, 0),
        ("localhost", {}, 0),
        ("0.0.0.0", {}, 1),
        ("gateway.internal", {}, 1),
        ("0.0.0.0", {"key_hashes": {digest("good"): "lab"}}, 0),
    ],
)
def test_serving_everyone_is_said_once(
    engine_url: str, host: str, auth: dict[str, Any], warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    # The setting alone: the test's server listens on loopback whatever it says.
    with gateway(engine_url, http={"host": host}, auth=auth):
        pass
    said = [r for r in caplog.records if "no API keys are set" in r.getMessage()]
    assert len(said) == warnings
    assert all(record.levelno == logging.WARNING for record in said)
