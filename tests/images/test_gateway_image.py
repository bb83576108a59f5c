"""The gateway's image, built and run: small, without a shell, and content with a read-only root and no rights."""

import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest

from deploy.images import build as building
from deploy.images.sbom import write_sbom
from server.together import free_port
from tests.fakes.engine import FakeEngine
from tests.fakes.serve import serving
from tests.images.containers import inspect, mounted, podman

MOST_MB = 250
START_S = 120
RESTRICTED = (
    "--read-only", "--tmpfs", "/tmp", "--user", "10001", "--cap-drop", "ALL",
    "--security-opt", "no-new-privileges", "--network", "host",
)  # fmt: skip
SHELLS = ("sh", "bash", "dash", "ash", "busybox")
BUILDERS = ("gcc", "cc", "g++", "ld", "make", "pip", "pip3", "uv", "apt", "apt-get", "dpkg", "perl", "curl", "wget")


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    with serving(FakeEngine().app) as url:
        yield url


@pytest.fixture(scope="module")
def running(gateway: str, engine: str) -> Iterator[str]:
    """Name of a container that answers; the port is in its name."""
    port = free_port()
    name = f"fovea-gateway-{port}"
    podman(
        "run", "--detach", "--name", name, *RESTRICTED, "--env", f"FOVEA_HTTP__PORT={port}",
        "--env", "FOVEA_HTTP__HOST=127.0.0.1", gateway, "gateway", "--engine", engine,
    )  # fmt: skip
    deadline = time.monotonic() + START_S
    while get(f"http://127.0.0.1:{port}/health/ready") != 200:
        assert time.monotonic() < deadline, podman("logs", name).stderr
        time.sleep(0.2)
    yield name
    podman("rm", "--force", "--time", "0", name)


def get(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as answer:
        return answer.code
    except OSError:
        return 0


def url_of(name: str) -> str:
    return f"http://127.0.0.1:{name.rpartition('-')[2]}"


def files_of(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if not path.is_dir()]


def test_it_answers_with_a_read_only_root_and_no_rights(running: str) -> None:
    body = {"model": "demo", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}
    request = urllib.request.Request(
        f"{url_of(running)}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        assert json.load(response)["choices"][0]["message"]["content"]
    state = inspect("container", running)
    assert state["HostConfig"]["ReadonlyRootfs"]
    assert state["Config"]["User"] == "10001"
    assert state["EffectiveCaps"] in (None, [])


def test_a_volume_may_be_written_to(gateway: str) -> None:
    with mounted(gateway) as root:
        owner = (root / "var/lib/fovea").stat().st_uid
    assert owner == 10001


def test_it_runs_without_a_shell(running: str, gateway: str) -> None:
    with mounted(gateway) as root:
        there = [path for path in files_of(root) if path.name in SHELLS]
        starts = (root / "opt/fovea/bin/fovea").read_bytes().splitlines()[0]
    assert there == []
    assert starts == b"#!/opt/fovea/bin/python"
    processes = podman("top", running, "args").stdout.splitlines()[1:]
    assert processes
    assert all("python" in line for line in processes)


def test_nothing_is_in_it_that_builds_or_installs(gateway: str) -> None:
    with mounted(gateway) as root:
        files = files_of(root)
        programs = {path.name for path in files if path.parent.name in ("bin", "sbin")}
        packages = {path.name for path in (root / "opt/fovea").glob("lib/python*/site-packages/*")}
        ours = re.compile(r"/site-packages/(server|quantize|loadtest|tests)/tests?/")
        suites = [path for path in files if ours.search(str(path))]
        secrets = [path for path in files if "run/secrets" in str(path) or path.name in ("pip.conf", "uv.toml")]
    assert programs.isdisjoint(BUILDERS)
    assert packages.isdisjoint(("pip", "setuptools", "pytest", "mypy", "ruff", "torch", "tests"))
    assert suites == []
    assert secrets == []


def test_it_is_small(gateway: str) -> None:
    assert inspect("image", gateway)["Size"] < MOST_MB * 1_000_000


def test_its_labels_say_what_it_is(gateway: str) -> None:
    config = inspect("image", gateway)["Config"]
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert labels["title"] == "fovea-gateway"
    assert labels["version"] == building.version()
    assert labels["revision"] == building.revision()
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Entrypoint"] == ["fovea"]


def test_its_health_check_tells_a_gateway_that_answers_from_none(running: str, gateway: str) -> None:
    assert podman("healthcheck", "run", running).returncode == 0
    lonely = f"{running}-none"
    podman("run", "--detach", "--name", lonely, *RESTRICTED, "--env", f"FOVEA_HTTP__PORT={free_port()}",
           "--entrypoint", "python", gateway, "-c", "import time; time.sleep(600)")  # fmt: skip
    try:
        assert podman("healthcheck", "run", lonely, fails=True).returncode == 1
    finally:
        podman("rm", "--force", "--time", "0", lonely)


def test_what_it_is_told_wrongly_is_one_sentence(gateway: str) -> None:
    done = podman("run", "--rm", *RESTRICTED, "--env", "FOVEA_HTPP__PORT=1", gateway, fails=True)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("fovea: ")


def test_it_stops_when_it_is_told_to(gateway: str, engine: str) -> None:
    port = free_port()
    name = f"fovea-stops-{port}"
    podman("run", "--detach", "--name", name, *RESTRICTED, "--env", f"FOVEA_HTTP__PORT={port}",
           "--env", "FOVEA_HTTP__DRAIN_GRACE_S=0", gateway, "gateway", "--engine", engine)  # fmt: skip
    deadline = time.monotonic() + START_S
    while get(f"http://127.0.0.1:{port}/health/live") != 200:
        assert time.monotonic() < deadline, podman("logs", name).stderr
        time.sleep(0.2)
    podman("stop", "--time", "60", name)
    assert inspect("container", name)["State"]["ExitCode"] == 0
    podman("rm", name)


def test_its_sbom_names_every_distribution_and_debian_package(gateway: str, tmp_path: Path) -> None:
    sbom = json.loads(write_sbom("podman", gateway, tmp_path / "sbom.json").read_text())
    named = {part["purl"] for part in sbom["components"]}
    with mounted(gateway) as root:
        site = next((root / "opt/fovea/lib").glob("python*/site-packages"))
        installed = {normal(each.metadata["Name"], each.version) for each in distributions(path=[str(site)])}
        status = (root / "var/lib/dpkg/status").read_text()
        libraries = [path for path in (root / "usr/lib").glob("*-linux-gnu/*.so.*") if not path.is_symlink()]
        owned = "".join(path.read_text() for path in (root / "var/lib/dpkg/info").glob("*.list"))
    assert len(installed) > 60
    assert {url for url in named if url.startswith("pkg:pypi/")} == installed
    packages = set(re.findall(r"^Package: (\S+)$", status, re.MULTILINE))
    debian = (urllib.parse.unquote(url) for url in named if url.startswith("pkg:deb/"))
    assert {url.split("/")[2].split("@")[0] for url in debian} == packages
    assert "libc6" in packages
    # No library without a package that the SBOM names.
    assert [path.name for path in libraries if path.name not in owned] == []


def normal(name: str, version: str) -> str:
    return f"pkg:pypi/{plain(name)}@{version}"


def plain(name: str) -> str:
    """As PyPI compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_same_pins_are_in_it_that_are_tested(gateway: str) -> None:
    with mounted(gateway) as root:
        site = next((root / "opt/fovea/lib").glob("python*/site-packages"))
        found = {plain(each.metadata["Name"]): each.version for each in distributions(path=[str(site)])}
    pins = dict(
        line.split("==") for line in (building.ROOT / "deploy/environments/gateway.txt").read_text().split()
    )
    assert {"aiohttp", "kubernetes-asyncio", "obstore", "pyvips"} <= found.keys() & pins.keys()
    assert {name: version for name, version in found.items() if pins.get(name, version) != version} == {}
