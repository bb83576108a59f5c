"""`fovea top` as a command, against a real gateway in front of a fake engine."""

import json
import subprocess
import sys

import httpx2
import pytest
from typer.testing import CliRunner, Result

import server.cli
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving
from tests.pictures import chat, image_part, picture


def top(*arguments: str) -> Result:
    return CliRunner().invoke(server.cli.app, ["top", "--interval", "0.2", *arguments])


def test_one_look_shows_the_gateway_its_engines_and_what_they_tell() -> None:
    engine = FakeEngine()
    with serving(engine.app) as engine_url, gateway(engine_url) as url:
        httpx2.post(f"{url}/v1/chat/completions", json=chat(image_part(picture()), stream=True))
        shown = top("--gateway", url, "--engine", engine_url)
        told = top("--gateway", url, "--engine", f"engine-0={engine_url}", "--once", "--json")
    assert shown.exit_code == 0, shown.output
    assert url in shown.output
    assert "engine-0" in shown.output
    [line] = told.stdout.splitlines()
    overview = json.loads(line)
    assert [(each["name"], each["state"], each["trouble"]) for each in overview["engines"]] == [
        ("engine-0", "ready", "")
    ]
    assert overview["traffic"]["requests"] == 0  # between its two looks nobody asked
    assert overview["seconds"] > 0


def test_who_does_not_answer_is_named_with_what_the_others_tell() -> None:
    engine = FakeEngine()
    with serving(engine.app) as engine_url, gateway(engine_url) as url:
        told = top("--gateway", url, "--engine", "http://127.0.0.1:9", "--once", "--json")
    assert told.exit_code == 0
    assert json.loads(told.stdout)["engines"][0]["trouble"] == "cannot be reached"


def test_a_gateway_that_does_not_answer_is_exit_code_1() -> None:
    told = top("--gateway", "http://127.0.0.1:9", "--once")
    assert told.exit_code == 1
    assert "http://127.0.0.1:9: cannot be reached" in told.output


@pytest.mark.parametrize(
    "arguments",
    [["--gateway", "nowhere"], ["--engine", "file:///x"], ["--engine", "a=http://x", "--engine", "a=http://y"]],
)
def test_addresses_that_cannot_be_are_refused_in_one_line(arguments: list[str]) -> None:
    told = top(*arguments, "--once")
    assert told.exit_code == 2
    assert len(told.stderr.splitlines()) == 1


# What a shell has put into the background ignores Ctrl-C, and so would its children.
HEEDING = """\
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("server", run_name="__main__", alter_sys=True)
"""


def test_ctrl_c_ends_it_quietly() -> None:
    command = (
        sys.executable,
        "-c",
        HEEDING,
        "top",
        "--gateway",
        "http://127.0.0.1:9",
        "--json",
        "--interval",
        "0.2",
    )
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["trouble"] == "cannot be reached"
    process.send_signal(2)
    _, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (0, "")
