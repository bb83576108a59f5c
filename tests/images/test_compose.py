"""deploy/compose.yaml as podman-compose runs it: a real gateway and real Valkeys, in the networks that it names.

The engine is the contract tests' stand-in, in a container of the gateway's image: vLLM's has four gigabytes.
"""

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import yaml

from server.admission.new_key import hash_key, make_key
from server.together import free_port
from tests.compose.project import FILE, environ
from tests.compose.project import program as compose_program
from tests.conftest import ROOT
from tests.images.containers import podman
from tests.pictures import chat, picture

# Connections that a gateway keeps would hold it up for as long as it may be.
STAND_IN = """
import uvicorn
from tests.fakes.engine import FakeEngine
uvicorn.run(FakeEngine().app, host="0.0.0.0", port=8000, timeout_graceful_shutdown=1)
"""
REACHES = """
import socket, sys
for place in sys.argv[1:]:
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 5).close()
    except OSError:
        continue
    print(place)
"""
PLACES = ("limits:6379", "embeddings:6379", "engine:8000", "gateway:8080")
NAME = "fovea-tried"
READY_S = 180


@dataclass(frozen=True)
class Up:
    url: str
    key: str

    def ask(self, path: str, **options: object) -> httpx2.Response:
        return httpx2.request("POST", self.url + path, headers=self.head, timeout=60, **options)  # type: ignore[arg-type]

    @property
    def head(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}


@pytest.fixture(scope="module")
def networks(base: str) -> None:
    """Podman can make networks here."""
    podman("network", "create", "fovea-probe")
    tried = podman("run", "--rm", "--network", "fovea-probe", base, "true", fails=True)
    podman("network", "rm", "--force", "fovea-probe")
    if tried.returncode:
        pytest.skip(f"SKIPPED: podman can make no networks here: {tried.stderr.strip()[-200:]}")


@pytest.fixture(scope="module")
def store(base: str, valkey_program: str) -> str:
    """The set-up's Valkey in an image."""
    made = subprocess.run(["buildah", "from", "--pull-never", base], capture_output=True, text=True, check=True)
    container = made.stdout.strip()
    for program in ("valkey-server", "valkey-cli"):
        found = str(Path(valkey_program).with_name(program))
        subprocess.run(
            ["buildah", "copy", "--quiet", container, found, "/usr/bin/"], check=True, capture_output=True
        )
    subprocess.run(
        ["buildah", "commit", "--quiet", "--rm", container, "valkey:test"], check=True, capture_output=True
    )
    return "valkey:test"


@pytest.fixture(scope="module")
def up(networks: None, gateway: str, store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder, key, port = tmp_path_factory.mktemp("compose"), make_key(), free_port()
    entry = {"hash": hash_key(key), "tenant": "tried", "scopes": ["inference", "files"]}
    (folder / "keys.yaml").write_text(yaml.safe_dump({"keys": [entry]}))
    folder.chmod(0o755)
    hurried = {"environment": {"FOVEA_HTTP__DRAIN_GRACE_S": "0"}}
    services = {"engine-cpu": stand_in(gateway), "gateway": hurried}
    (folder / "override.yaml").write_text(yaml.safe_dump({"services": services}))
    told = {"FOVEA_SECRETS": str(folder), "FOVEA_PORT": str(port), "FOVEA_VERSION": "test", "VALKEY_IMAGE": store}
    command = [compose_program("podman-compose"), "--project-name", NAME, "--file", FILE]
    command += ["--file", folder / "override.yaml", "--profile", "cpu"]

    def run(*words: str) -> str:
        done = subprocess.run(
            [*map(str, command), *words], capture_output=True, text=True, env=environ(**told), timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    try:
        # No timers look at health where there is no systemd: nobody waits for it.
        run("up", "--detach", "--no-deps", "limits", "embeddings", "gateway", "engine-cpu")
        made = Up(f"http://127.0.0.1:{port}", key)
        wait_until_ready(made)
        yield made
        run("stop", "gateway", "limits", "embeddings")
        assert {name: exit_code(name) for name in ("gateway", "limits", "embeddings")} == {
            "gateway": 0, "limits": 0, "embeddings": 0,
        }  # fmt: skip
    finally:
        run("down", "--timeout", "1", "--volumes")


def stand_in(image: str) -> dict[str, object]:
    tests = {"type": "bind", "source": str(ROOT / "tests"), "target": "/src/tests", "read_only": True}
    entry = ["python", "-c", STAND_IN]
    return {"image": image, "entrypoint": entry, "environment": {"PYTHONPATH": "/src"}, "volumes": [tests]}


def wait_until_ready(made: Up) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        try:
            if httpx2.get(f"{made.url}/health/ready", timeout=5).status_code == 200:
                return
        except httpx2.HTTPError:
            pass
        assert time.monotonic() < deadline, podman("logs", f"{NAME}_gateway_1").stderr[-2000:]
        time.sleep(0.2)


def exit_code(service: str) -> int:
    return int(podman("inspect", "--format", "{{.State.ExitCode}}", f"{NAME}_{service}_1").stdout)


def reached_by(service: str) -> set[str]:
    return set(podman("exec", f"{NAME}_{service}_1", "python", "-c", REACHES, *PLACES).stdout.split())


def test_a_caller_with_a_key_is_answered_and_one_without_is_not(up: Up) -> None:
    assert "3 objects" in up.ask("/v1/chat/completions", json=chat()).text
    assert httpx2.post(f"{up.url}/v1/chat/completions", json=chat(), timeout=60).status_code == 401


def test_limits_are_drawn_in_the_store_that_lies_beside_it(up: Up) -> None:
    deadline = time.monotonic() + READY_S
    while "\nfovea_limit_store_up 1.0" not in httpx2.get(f"{up.url}/metrics", timeout=30).text:
        assert time.monotonic() < deadline, podman("logs", f"{NAME}_gateway_1").stderr[-2000:]
        time.sleep(0.2)


def test_a_file_is_taken_and_found_again(up: Up) -> None:
    """The volume is the gateway's user's."""
    told = up.ask("/v1/files", data={"purpose": "vision"}, files={"file": ("red.png", picture())})
    assert told.status_code == 200, told.text
    again = httpx2.get(f"{up.url}/v1/files/{told.json()['id']}/content", headers=up.head, timeout=30)
    assert again.content == picture()


def test_each_reaches_what_it_needs_and_nobody_else(up: Up) -> None:
    assert reached_by("gateway") == {"limits:6379", "engine:8000", "gateway:8080"}
    assert reached_by("engine-cpu") == {"embeddings:6379", "engine:8000", "gateway:8080"}


def test_an_engine_has_no_way_out(up: Up) -> None:
    """Not even to what would not answer: there is no route."""
    routes = podman("exec", f"{NAME}_engine-cpu_1", "python", "-c", "print(open('/proc/net/route').read())").stdout
    assert [line for line in routes.splitlines()[1:] if line.split()[1:2] == ["00000000"]] == []


def test_health_is_what_the_file_asks_for(up: Up) -> None:
    for service in ("gateway", "limits", "embeddings", "engine-cpu"):
        assert podman("healthcheck", "run", f"{NAME}_{service}_1").returncode == 0, service
