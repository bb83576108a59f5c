"""Nothing of vLLM's HTTP surface can be reached but what the gateway itself serves."""

import ast
import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.api.estimating import ESTIMATE
from server.api.surfaces import SURFACES
from server.engine.vllm_build import find_python
from tests.conftest import Stack
from tests.contract.conftest import Target
from tests.contract.vllm_routes import FRAMEWORK_ROUTES, ROUTES

SERVED = {*SURFACES, ESTIMATE, "/v1/models", "/metrics"}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# How vLLM's sources name a path: methods of its routers and applications, and Starlette's Mount.
NAMING = frozenset(
    "get post put delete patch head options websocket api_route route add_api_route add_route mount Mount".split()
)
SPELLINGS = ("{0}/", "//{1}", "/v1/../{1}", "/v1/models/../..{0}", "/%2e%2e{0}", "{0}%00", "{0};a", "{0}?a=b")


def unserved() -> list[str]:
    return [path for path in (*ROUTES, *FRAMEWORK_ROUTES) if path not in SERVED]


@pytest.mark.parametrize("path", unserved())
def test_what_the_gateway_does_not_serve_is_not_there(target: Target, path: str) -> None:
    for method in METHODS:
        answer = target.http.request(method, path.replace("{response_id}", "resp_1"), content=b"{}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), (method, path)


@pytest.mark.parametrize("path", ["/collective_rpc", "/v1/embeddings", "/invocations"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_spelling_of_a_path_leads_there(target: Target, path: str, spelling: str) -> None:
    answer = target.http.request("POST", spelling.format(path, path.lstrip("/")), content=b"{}")
    assert answer.status_code in (404, 405)
    assert "location" not in answer.headers


def test_what_is_served_answers_no_other_method(target: Target) -> None:
    for path in (*SURFACES, ESTIMATE):
        for method in METHODS:
            if method != "POST":
                assert target.http.request(method, path).status_code == 405, (method, path)


def test_no_websocket_is_opened(target: Target) -> None:
    upgrade = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "x3JJHMbDL1EzLkh9GBhXDw==",
    }
    for path in ("/v1/realtime", "/v1/chat/completions"):
        assert target.http.get(path, headers=upgrade).status_code // 100 == 4


def test_the_list_holds_every_path_in_the_sources_of_vllm() -> None:
    asked = "import importlib.util as u; print(u.find_spec('vllm').submodule_search_locations[0])"
    python = find_python(os.environ)
    folder = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True).stdout.strip()
    assert set(paths_in(Path(folder) / "entrypoints")) == set(ROUTES)


def paths_in(folder: Path) -> Iterator[str]:
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
            first = node.args[0]
            if name in NAMING and isinstance(first, ast.Constant) and str(first.value).startswith("/"):
                yield str(first.value)


def test_the_list_holds_every_path_that_a_running_vllm_tells_of(fp8: Stack) -> None:
    with urllib.request.urlopen(f"{fp8.engine}/openapi.json") as answer:
        told = json.load(answer)["paths"]
    assert "/invocations" in told
    assert set(told) <= set(ROUTES)
