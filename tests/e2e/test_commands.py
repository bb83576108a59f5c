"""The commands as a user meets them: refusals in one line, clean stops, help that helps."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from demo.processes import running
from server.together import free_port
from tests.conftest import DEMO_MODEL, ENGINE_START_S, ROOT


def run(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "100", **environ},
    )


@pytest.mark.parametrize(
    ("command", "word"),
    [
        (("server",), "engine"),
        (("server", "engine"), "--model"),
        (("server", "gateway"), "--engine"),
        (("server", "up"), "--engine-port"),
        (("quantize.cli", "run"), "--recipe"),
        (("loadtest.cli", "run"), "--seed"),
    ],
)
def test_help_says_what_can_be_set(command: tuple[str, ...], word: str) -> None:
    done = run(*command, "--help")
    assert done.returncode == 0
    assert word in done.stdout


@pytest.mark.parametrize(
    ("command", "environ", "sentence"),
    [
        (("server", "engine", "--model", "/none"), {}, "it has no config.json"),
        (("server", "up", "--model", "/none"), {}, "it has no config.json"),
        (("server", "engine", "--model", str(DEMO_MODEL)), {"FOVEA_ENGINE_PYTHON": "/bin/false"}, "has no vLLM"),
        (
            ("server", "engine", "--model", str(DEMO_MODEL), "--embedding-cache", "/proc/nothing"),
            {"FOVEA_ENGINE_PYTHON": "/bin/false"},
            "cannot keep embeddings in /proc/nothing (No such file or directory)",
        ),
        (
            ("server", "engine", "--model", str(DEMO_MODEL), "--embedding-cache", "on", "--language-model-only"),
            {"FOVEA_ENGINE_PYTHON": "/bin/false"},
            "takes no pictures: start it without --embedding-cache",
        ),
        (("server", "gateway"), {}, "no engine is named"),
        (("server", "gateway", "--engine", "localhost:8000"), {}, "is not a URL like http://"),
        (("server", "gateway", "--engine", "http://x"), {"FOVEA_TYPO": "1"}, "FOVEA_TYPO is not a setting"),
        (("server", "gateway", "--engine", "http://x", "--port", "99999"), {}, "http.port"),
        (("server", "gateway", "--engine", "http://x", "--preprocessor", "/none"), {}, "cannot read /none"),
    ],
)
def test_what_cannot_start_says_why_in_one_line(
    command: tuple[str, ...], environ: dict[str, str], sentence: str
) -> None:
    done = run(*command, **environ)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def children_of(root: int) -> set[int]:
    """Every living descendant, from /proc."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(path.parent.name)] = int(fields[1])
    found = {root}
    while grown := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= grown
    return found - {root}


def fake_python(folder: Path) -> Path:
    script = folder / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} {ROOT}/tests/fakes/vllm.py "$@"\n')
    script.chmod(0o700)
    return script


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--embedding-cache-disk", "1GiB"), "has no effect without --embedding-cache"),
        (("--embedding-cache", "/proc/nothing"), "cannot keep embeddings in /proc/nothing"),
    ],
)
def test_up_ends_with_what_its_engine_refuses(options: tuple[str, ...], sentence: str) -> None:
    done = run("server", "up", "--model", str(DEMO_MODEL), "--port", str(free_port()), *options)
    assert done.returncode == 2
    (said,) = (line for line in done.stdout.splitlines() if line.startswith("engine"))
    assert sentence in said


@pytest.mark.parametrize("killed", [None, "engine", "gateway"])
def test_up_ends_as_a_whole(killed: str | None, tmp_path: Path) -> None:
    """Ctrl-C stops everything with code 0; whichever half dies takes the other along, with a code that says so.

    What a killed gateway takes along is the launcher's to stop, as it is at Ctrl-C: a stand-in for vLLM will do.
    """
    port = str(free_port())
    stand_in = {"FOVEA_ENGINE_PYTHON": str(fake_python(tmp_path))} if killed == "gateway" else {}
    with running("server", "up", "--model", str(DEMO_MODEL), "--port", port, **stand_in) as up:
        up.wait_for(r"fovea   \| ready: ", ENGINE_START_S)
        assert f"curl -s http://127.0.0.1:{port}/v1/chat/completions" in up.output
        family = children_of(up.process.pid)
        assert len(family) >= (3 if stand_in else 4)
        if killed:
            mark = {"engine": b"api_server", "gateway": b"server\0gateway"}[killed]
            victim = next(pid for pid in family if mark in (Path("/proc") / str(pid) / "cmdline").read_bytes())
            os.kill(victim, signal.SIGKILL)
            up.process.wait(90)
            assert up.process.returncode not in (0, None)
            assert f"{killed} ended with code" in up.output
        else:
            assert up.stop(signal.SIGINT) == 0
            assert up.lines[-1] == "fovea   | stopped"
        assert not [pid for pid in family if (Path("/proc") / str(pid)).exists() and pid in children_of(1)]
