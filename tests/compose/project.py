"""deploy/compose.yaml as docker compose itself understands it: merged, interpolated, checked."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
FILE = DEPLOY / "compose.yaml"
PROGRAMS = ROOT / ".venv" / "compose" / "bin"
ENGINES = {"cpu": "engine-cpu", "gpu": "engine-gpu"}
# Ours; the others' images have users and volumes of their own.
OURS = ("gateway", "engine-cpu", "engine-gpu")

Service = dict[str, Any]


def program(name: str) -> Path:
    if not (PROGRAMS / name).exists():
        pytest.skip(f"SKIPPED: no {name}: python3 deploy/environments/set_up.py compose")
    return PROGRAMS / name


def environ(**told: str) -> dict[str, str]:
    """Of ours nothing but what is told: no .env of a developer's either."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FOVEA_", "COMPOSE_"))}
    return {**kept, "COMPOSE_DISABLE_ENV_FILE": "1", **told}


@cache
def project(*profiles: str) -> dict[str, Any]:
    command = [program("docker-compose"), "--file", FILE, *(f"--profile={each}" for each in profiles)]
    done = subprocess.run(
        [*map(str, command), "config", "--format", "json"],
        capture_output=True,
        text=True,
        env=environ(),
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def everything() -> dict[str, Service]:
    services: dict[str, Service] = project("cpu", "gpu", "observe")["services"]
    return services


def binds(service: Service) -> Iterator[tuple[Path, str]]:
    """What of this machine a container sees, and where."""
    for mount in service.get("volumes", []):
        if mount["type"] == "bind":
            yield Path(mount["source"]), mount["target"]


def on_this_machine(service: Service, path: str) -> Path:
    """The file that a container's process finds at `path`, which must be mounted."""
    for source, target in binds(service):
        if path == target or path.startswith(f"{target}/"):
            return source / path.removeprefix(target).lstrip("/") if path != target else source
    raise AssertionError(f"nothing is mounted where {path} is")


def is_kept(service: Service, path: str) -> bool:
    """Whether `path` lies in a volume, and so survives the container."""
    kept = [mount["target"] for mount in service.get("volumes", []) if mount["type"] == "volume"]
    return any(path == target or path.startswith(f"{target}/") for target in kept)


def names_in(services: Mapping[str, Service], network: str) -> dict[str, str]:
    """What can be called in a network: each name with the service that answers."""
    found: dict[str, str] = {}
    for name, service in services.items():
        if network in service["networks"]:
            aliases: Sequence[str] = (service["networks"][network] or {}).get("aliases", [])
            found |= dict.fromkeys([name, *aliases], name)
    return found


def reached(services: Mapping[str, Service], by: str, host: str) -> str | None:
    """The service that `by` reaches under a name."""
    for network in services[by]["networks"]:
        if found := names_in(services, network).get(host):
            return found
    return None
