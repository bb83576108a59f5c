"""`fovea doctor` on this machine, with stores, GPUs and deployments that are there, broken or gone."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from socketserver import StreamRequestHandler, TCPServer
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from server.admission.new_key import hash_key
from server.cli_doctor import check_keys_file
from server.doctor.deployment import check_engine, check_gateway
from server.doctor.finding import Finding, worst
from server.doctor.stores import check_store
from server.engine.nvml import LIBRARY, NoNvml, read_driver
from server.together import free_port
from tests.contract.test_faults import wait_until
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.nvml import GB, NO_DRIVER, TWO_GPUS, build_stub, write_scene
from tests.fakes.serve import serving
from tests.pictures import chat, image_part, picture
from tests.valkey import Valkey

ROOT = Path(__file__).parents[2]
SCENE = {**TWO_GPUS, "cuda": "0 13000", "capability@0": "0 9 0", "capability@1": "0 8 0"}


def doctor(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    command, ports = [sys.executable, "-m", "server", "doctor", *arguments], {"FOVEA_HTTP__PORT": str(free_port())}
    environment = {**os.environ, **ports, **environ}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)


def by_check(done: "subprocess.CompletedProcess[str]") -> dict[str, dict[str, Any]]:
    return {each["check"]: each for each in json.loads(done.stdout)["findings"]}


def told(findings: Iterator[Finding]) -> list[tuple[str, str]]:
    return [(each.verdict, each.told) for each in findings]


def test_without_vllm_or_a_gpu_a_gateways_machine_is_told_so(tmp_path: Path) -> None:
    done = doctor("--json", FOVEA_ENGINE_PYTHON=sys.executable, LD_LIBRARY_PATH=str(tmp_path))
    found = by_check(done)
    assert found["vllm"]["verdict"] == "warning"
    assert found["python"]["verdict"] == found["settings"]["verdict"] == "ok"
    assert "Traceback" not in done.stderr


def test_what_must_be_mended_is_exit_code_1_and_says_what_to_do(tmp_path: Path) -> None:
    done = doctor("--model", str(tmp_path), FOVEA_HTTP__PORT="none")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    for failing in ("checkpoint", "settings"):
        at = next(number for number, line in enumerate(lines) if line.startswith(f"failure  {failing}: "))
        assert lines[at + 1].startswith("         -> ")


def test_gpus_are_told_with_what_fp8_does_on_each(tmp_path: Path) -> None:
    stub = build_stub(tmp_path, SCENE)
    found = by_check(doctor("--json", LD_LIBRARY_PATH=str(stub)))
    assert found["driver"]["told"].startswith("580.95.05, up to CUDA 13.0")
    assert (found["gpu 0"]["verdict"], found["gpu 1"]["verdict"]) == ("ok", "warning")
    assert "compute capability 9.0" in found["gpu 0"]["told"]


def test_nvml_is_read_as_it_answers_and_a_driver_that_does_not_is_said(tmp_path: Path) -> None:
    library = str(build_stub(tmp_path, SCENE) / LIBRARY)
    driver = read_driver(library)
    assert (driver.version, driver.cuda, [gpu.capability for gpu in driver.gpus]) == (
        "580.95.05",
        (13, 0),
        [(9, 0), (8, 0)],
    )
    assert (driver.gpus[0].total_bytes, driver.gpus[0].free_bytes) == (80 * GB, 20 * GB)
    write_scene(tmp_path, {**SCENE, "init": NO_DRIVER})
    with pytest.raises(NoNvml, match="does not answer"):
        read_driver(library)


@pytest.mark.parametrize(
    ("content", "verdict", "says"),
    [
        (None, "failure", "No such file"),
        ("keys: [{hash: SECRET}]", "failure", "keys[0]"),
        ("keys: []", "warning", "holds no key"),
        (f"keys: [{{hash: '{hash_key('k')}', tenant: t, scopes: [inference]}}]", "ok", "keys: 1"),
    ],
)
def test_a_keys_file_that_is_broken_is_found(tmp_path: Path, content: str | None, verdict: str, says: str) -> None:
    if content is not None:
        (tmp_path / "keys.yaml").write_text(content)
    (found,) = check_keys_file(tmp_path / "keys.yaml")
    assert (found.verdict, says in found.told, "SECRET" in found.told) == (verdict, True, False), found


def test_a_store_that_is_there_and_one_that_is_gone(valkey: Valkey) -> None:
    assert told(check_store("limits.store_url", valkey.url)) == [("ok", f"127.0.0.1:{valkey.port} answers")]
    found = list(check_store("limits.store_url", f"redis://:SECRET@127.0.0.1:{free_port()}/0"))
    assert worst(found) == "failure"
    assert "SECRET" not in str(found)


@pytest.mark.parametrize(
    "says", [b"-NOAUTH Authentication required.\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b""]
)
def test_a_store_that_refuses_or_is_none_is_a_failure(says: bytes) -> None:
    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(says)

    with TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        found = list(check_store("store", f"redis://127.0.0.1:{server.server_address[1]}"))
        server.shutdown()
    assert worst(found) == "failure"
    assert all(each.do for each in found)


def test_a_gateway_that_serves_is_fine_and_says_how_its_pictures_go() -> None:
    with serving(FakeEngine().app) as engine, gateway(engine) as url:
        for _ in range(2):
            body = chat(image_part(picture()))
            assert httpx2.post(f"{url}/v1/chat/completions", json=body, timeout=30).status_code == 200
        found = list(check_gateway(url, ""))
    assert worst(found) == "ok", found
    assert any("all of its engines are ready (1)" in each.told for each in found)
    assert any("names of pictures alone" in each.told for each in found)


def test_a_gateway_without_an_engine_is_a_failure_and_says_which_engine() -> None:
    engine = FakeEngine()
    engine.healthy = False
    with serving(engine.app) as engine_url, gateway(engine_url, wait=False) as url:
        wait_until(lambda: any("engine-0 is" in each.told for each in check_gateway(url, "")), 60)
        found = list(check_gateway(url, ""))
    assert worst(found) == "failure"


def test_metrics_that_ask_for_a_key_are_a_warning_unless_there_is_one(tmp_path: Path) -> None:
    keys = tmp_path / "keys.yaml"
    digest = hashlib.sha256(b"fv-admin").hexdigest()
    keys.write_text(f"keys: [{{hash: 'sha256:{digest}', tenant: lab, scopes: [admin]}}]")
    auth = {"keys_file": keys, "protect_metrics": True}
    with serving(FakeEngine().app) as engine, gateway(engine, auth=auth) as url:
        assert worst(check_gateway(url, "")) == "warning"
        assert worst(check_gateway(url, "fv-admin")) == "ok"


def stand_in(metrics: str, status: int = 200) -> Starlette:
    async def health(_: Request) -> Response:
        return Response(status_code=status)

    async def tell(_: Request) -> Response:
        return PlainTextResponse(metrics)

    return Starlette(routes=[Route("/health", health), Route("/metrics", tell)])


def test_an_engine_of_ours_and_stock_vllm_are_told_apart() -> None:
    ours = 'fovea_engine_info{version="0.1.0",vllm="0.32.0"} 1\nfovea_encoder_cache_hits_total{tier="host"} 1\n'
    with serving(stand_in(ours)) as url:
        found = list(check_engine(url))
        assert worst(found) == "ok", found
    with serving(stand_in("vllm:num_requests_running 0\n")) as url:
        assert [each.verdict for each in check_engine(url)] == ["ok", "ok", "warning", "warning"]
    with serving(stand_in(ours.replace("0.1.0", "0.0.1"))) as url:
        assert worst(check_engine(url)) == "warning"
    with serving(stand_in(ours, status=503)) as url:
        assert worst(check_engine(url)) == "failure"


@pytest.mark.parametrize("metrics", ["not { metrics", "\x00\x01"])
def test_what_are_no_metrics_is_a_failure(metrics: str) -> None:
    with serving(stand_in(metrics)) as url:
        assert worst(check_engine(url)) == "failure"


def test_a_key_follows_no_redirect() -> None:
    seen: list[dict[str, str]] = []

    async def elsewhere(request: Request) -> Response:
        seen.append(dict(request.headers))
        return PlainTextResponse("")

    with serving(Starlette(routes=[Route("/{rest:path}", elsewhere)])) as other:

        async def redirect(request: Request) -> Response:
            if request.url.path == "/metrics":
                return RedirectResponse(f"{other}/metrics")
            return Response()

        with serving(Starlette(routes=[Route("/{rest:path}", redirect)])) as url:
            assert worst(check_gateway(url, "fv-admin")) == "failure"
    assert seen == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no-such-host.invalid", "nonsense"])
def test_nobody_there_is_a_failure_in_a_few_words(url: str) -> None:
    for found in (list(check_gateway(url, "")), list(check_engine(url))):
        assert worst(found) == "failure"
        assert all(each.do for each in found if each.verdict != "ok")
