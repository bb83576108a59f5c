"""nginx as docs/guides/behind-a-proxy.md has it carries large pictures and streams as they come."""

import json
import re
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
import trustme

from loadtest.peers.nginx import Nginx
from server.together import free_port
from tests.conftest import ROOT
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving
from tests.pictures import chat, image_part, noise

GUIDE = ROOT / "docs" / "guides" / "behind-a-proxy.md"
NAME = "vision.example.com"
# Where it keeps what it should not: a request or an answer that waits to be whole.
AROUND = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
{block}
}}
"""


@dataclass(frozen=True)
class Scene:
    engine: FakeEngine
    caller: httpx2.Client
    straight: httpx2.Client


def block_of_the_guide() -> str:
    found = re.search(r"```nginx\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def configured(folder: Path, port: int, gateway_at: str, authority: trustme.CA) -> Path:
    """Only what a site chooses is another: ports and where the certificate lies."""
    certificate = authority.issue_cert(NAME)
    certificate.cert_chain_pems[0].write_to_path(str(folder / "tls.crt"))
    certificate.private_key_pem.write_to_path(str(folder / "tls.key"))
    block = block_of_the_guide()
    for said, meant in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("127.0.0.1:8080", gateway_at),
        ("/etc/nginx/tls", str(folder)),
    ):
        assert said in block
        block = block.replace(said, meant)
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder, block=block))
    return folder / "nginx.conf"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    program = Nginx().program()
    if program is None:
        pytest.skip("SKIPPED: no nginx: python3 deploy/environments/set_up.py nginx")
    folder, port, authority, engine = tmp_path_factory.mktemp("nginx"), free_port(), trustme.CA(), FakeEngine()
    trust = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    with serving(engine.app) as engine_url, gateway(engine_url, http={"hosts": [NAME]}) as url:
        config = configured(folder, port, urlsplit(url).netloc, authority)
        log = (folder / "log").open("wb")
        process = subprocess.Popen([program, "-p", str(folder), "-c", str(config)], stdout=log, stderr=log)
        # Callers know it by its name alone; here nobody answers for that but us.
        options = {"sni_hostname": NAME}
        head = {"host": NAME}
        base = f"https://127.0.0.1:{port}"
        try:
            with (
                httpx2.Client(base_url=base, verify=trust, headers=head, timeout=120) as caller,
                httpx2.Client(base_url=url, timeout=120) as straight,
            ):
                caller.event_hooks = {"request": [lambda request: request.extensions.update(options)]}
                wait_until_it_answers(caller, process, folder)
                yield Scene(engine, caller, straight)
        finally:
            process.terminate()
            process.wait(30)


def wait_until_it_answers(caller: httpx2.Client, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline, (folder / "log").read_text()
        try:
            assert caller.get("/v1/models").status_code == 200
            return
        except httpx2.TransportError:
            time.sleep(0.1)


def test_a_body_of_twenty_megabytes_reaches_the_engine(scene: Scene) -> None:
    body = json.dumps(chat(image_part(noise("PNG", (2500, 2500))))).encode()
    assert len(body) > 20 * 10**6
    answer = scene.caller.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200, answer.text
    assert "3 objects" in answer.json()["choices"][0]["message"]["content"]


def test_a_stream_is_seen_as_it_is_made(scene: Scene) -> None:
    """The engine says no more than its first event until the caller has seen it."""
    scene.engine.go.clear()
    try:
        with scene.caller.stream("POST", "/v1/chat/completions", json=chat(stream=True)) as answer:
            lines = (line for line in answer.iter_lines() if line)
            first = next(lines)
            assert first.startswith("data: {")
            scene.engine.go.set()
            assert list(lines)[-1] == "data: [DONE]"
    finally:
        scene.engine.go.set()


def test_what_is_too_large_the_gateway_refuses_in_its_own_words(scene: Scene) -> None:
    body = b'{"model": "demo", "padding": "' + bytes(32 * 1024**2).replace(b"\0", b"x") + b'"}'
    answer = scene.caller.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("path", ["/metrics", "/health/live", "/health/ready", "/docs"])
def test_what_asks_for_no_key_is_not_reached(scene: Scene, path: str) -> None:
    answer = scene.caller.get(path)
    assert answer.status_code == 404
    assert "nginx" in answer.text


def test_the_callers_own_name_for_it_arrives(scene: Scene) -> None:
    assert scene.straight.get("/v1/models", headers={"host": "elsewhere.example.com"}).status_code == 421
    assert scene.caller.get("/v1/models").status_code == 200
