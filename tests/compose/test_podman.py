"""podman-compose reads the same file, and asks podman for the same closed containers."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.compose.project import FILE, environ, program

PODMAN = """#!/bin/sh
printf '%s\\n' "$*" >> "$CALLS"
case "$1" in --version) echo podman version 4.3.1;; ps) echo '[]';; esac
"""


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What it would have podman do, of one that only notes it."""
    folder = tmp_path_factory.mktemp("podman")
    (folder / "podman").write_text(PODMAN)
    (folder / "podman").chmod(0o755)
    told = {"CALLS": str(folder / "calls"), "FOVEA_SECRETS": str(folder), "PATH": f"{folder}:{os.environ['PATH']}"}
    command = [program("podman-compose"), "--file", FILE, "--profile=cpu", "up", "--detach", "--no-deps"]
    done = subprocess.run(
        [*map(str, command), "gateway", "engine-cpu"],
        capture_output=True,
        text=True,
        env=environ(**told),
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return Path(told["CALLS"]).read_text().splitlines()


def created(calls: list[str], service: str) -> str:
    [found] = [call for call in calls if call.startswith(f"create --name=fovea_{service}_1 ")]
    return found


@pytest.mark.parametrize("service", ["gateway", "engine-cpu"])
def test_containers_are_as_closed_as_dockers(calls: list[str], service: str) -> None:
    made = created(calls, service)
    for option in ("--read-only", "--cap-drop ALL", "--security-opt no-new-privileges:true", "-u 10001:10001"):
        assert option in made


def test_the_gateway_alone_is_published_and_on_loopback(calls: list[str]) -> None:
    assert " -p 127.0.0.1:8080:8080 " in created(calls, "gateway")
    assert " -p " not in created(calls, "engine-cpu")


def test_an_engine_is_found_under_its_name_and_told_every_word(calls: list[str]) -> None:
    made = created(calls, "engine-cpu")
    assert "--network=fovea_engines:alias=engine-cpu,alias=engine" in made
    assert made.endswith("--embedding-cache-shared-size=768MiB")
