"""The SDKs that people call the gateway with, each in its own environment, against gateway and real vLLM.

The programs are in tests/clients; docs/clients.md shows their first lines. They send what their SDK makes of it, so
that each of its habits (extra headers, its own ids, echoed fields) meets the gateway. What comes back is also held
to the published documents (tests/fakes/gateway.py).
"""

import hashlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from tests.conftest import ROOT, Stack
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving

KEY = "sk-a-key-of-the-tests"
AUTH = {"key_hashes": {hashlib.sha256(KEY.encode()).hexdigest(): "lab"}}
PROGRAMS = {
    "openai": "openai_python.py",
    "anthropic": "anthropic_python.py",
    "langchain": "langchain_openai_python.py",
    "litellm": "litellm_python.py",
    "node": "openai_node.mjs",
}
CHAT = ("sees", "streams", "remembers", "structures", "calls_tool", "is_refused")
RESPONSES = ("responds", "responds_in_pieces")
STEPS = {
    "openai": (*CHAT, *RESPONSES, "responds_in_shape", "keeps_files", "lists_models"),
    "anthropic": (*CHAT, "keeps_files"),
    "langchain": (*CHAT, *RESPONSES, "keeps_files"),
    "litellm": (*CHAT, *RESPONSES, "keeps_files"),
    "node": (*CHAT, *RESPONSES, "keeps_files", "lists_models"),
}
NO_FILE = ["NotFoundError", 404, "file_not_found"]
NO_FILE_OF_ANTHROPIC = ["NotFoundError", 404, "not_found_error"]
SEEN = "4406"  # what is written in demo/pictures/number.jpg; in thumbnail.png there are six things
Told = Callable[[str], dict[str, Any]]


def run(client: str, url: str, model: str, *steps: str) -> dict[str, Any]:
    """What the client's program tells of `steps`."""
    environment = ROOT / ".venv" / f"client-{client}"
    program = ROOT / "tests" / "clients" / PROGRAMS[client]
    assert environment.exists(), f"python3 deploy/environments/set_up.py client-{client} makes {environment}"
    if client == "node":
        # Read from its input, a module finds packages from the folder that it is run in.
        command = [environment / "bin" / "node", "--input-type=module", "-", url, KEY, model]
        command += [ROOT / "demo" / "pictures", *steps]
    else:
        command = [environment / "bin" / "python", program, url, KEY, model, *steps]
    environ = {name: value for name, value in os.environ.items() if not re.match("OPENAI|ANTHROPIC|LANG", name)}
    source = program.read_text()
    done = subprocess.run(command, cwd=environment, env=environ, input=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.fixture(scope="module")
def url(fp8: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway that asks for a key and keeps files, in front of the FP8 checkpoint's engine."""
    files = {"path": tmp_path_factory.mktemp("files")}
    with gateway(fp8.engine, auth=AUTH, files=files, http={"max_body": 4 * 1024**2}) as gateway_url:
        yield gateway_url


@pytest.fixture(scope="module")
def told(url: str, fp8: Stack) -> Told:
    """What each client tells of all of its steps; it is run once."""
    return cache(lambda client: run(client, url, fp8.model, *STEPS[client]))


def clients(step: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("client", [client for client, steps in STEPS.items() if step in steps])


@clients("sees")
def test_a_picture_is_seen(told: Told, client: str) -> None:
    assert told(client)["sees"] == SEEN


@clients("streams")
def test_a_stream_says_it_in_pieces(told: Told, client: str) -> None:
    streamed = told(client)["streams"]
    assert streamed["text"] == SEEN, streamed
    assert streamed["pieces"] > 1
    assert streamed.get("tokens", SEEN) in (SEEN, 5)  # four digits and the end, where the SDK tells


@clients("remembers")
def test_a_later_question_is_about_the_same_picture(told: Told, client: str) -> None:
    assert told(client)["remembers"] == "6"


@clients("structures")
def test_an_answer_in_the_shape_of_a_class(told: Told, client: str) -> None:
    assert told(client)["structures"] == {"count": 6}


@clients("calls_tool")
def test_a_tool_is_called_with_arguments_of_its_shape(told: Told, client: str) -> None:
    call = told(client)["calls_tool"]
    assert call["name"] in ("report", "Count"), call
    assert list(call["arguments"]) == ["count"]
    assert isinstance(call["arguments"]["count"], int)


@clients("responds")
def test_the_responses_api_sees_too(told: Told, client: str) -> None:
    assert told(client)["responds"] == SEEN


@clients("responds_in_pieces")
def test_the_responses_api_streams(told: Told, client: str) -> None:
    streamed = told(client)["responds_in_pieces"]
    assert streamed["text"] == streamed.get("final", SEEN) == SEEN, streamed
    assert streamed["pieces"] > 1


def test_the_responses_api_answers_in_the_shape_of_a_class(told: Told) -> None:
    assert told("openai")["responds_in_shape"] == {"count": 6}


@clients("keeps_files")
def test_a_picture_is_uploaded_asked_about_by_its_id_and_deleted(told: Told, client: str) -> None:
    kept = told(client)["keeps_files"]
    assert "raised" not in kept, kept["raised"]
    for surface in ("as_url", "as_file", "as_input_image", "as_source"):
        assert kept.get(surface, SEEN) == SEEN, kept
    assert kept["deleted"] is True
    size = (ROOT / "demo" / "pictures" / "number.jpg").stat().st_size
    if client == "anthropic":
        assert kept["metadata"] == ["number.jpg", "image/jpeg", size, True]
        assert (kept["lives_s"], kept["listed"], kept["content"]) == (7200, [True] * 3, True)
        assert kept["afterwards"] == NO_FILE_OF_ANTHROPIC
        return
    if "file" in kept:
        file = kept["file"]
        assert (file["bytes"], file["filename"], file["purpose"]) == (size, "number.jpg", "vision")
        assert (kept["listed"], kept["content"]) == (True, True)
    assert kept.get("afterwards", NO_FILE) == NO_FILE


@clients("lists_models")
def test_the_model_is_listed(told: Told, fp8: Stack, client: str) -> None:
    assert told(client)["lists_models"] == [fp8.model]


REFUSALS = {
    "openai": {
        "picture": ["BadRequestError", 400, "invalid_image"],
        "key": ["AuthenticationError", 401, "invalid_api_key"],
        "model": ["NotFoundError", 404, "model_not_found"],
        "file": NO_FILE,
    },
    "anthropic": {
        "picture": ["BadRequestError", 400, "invalid_request_error"],
        "key": ["AuthenticationError", 401, "authentication_error"],
        "model": ["NotFoundError", 404, "not_found_error"],
    },
    "langchain": {
        "picture": ["OpenAIInvalidRequestError", 400, "invalid_image"],
        "key": ["OpenAIAuthenticationError", 401, "invalid_api_key"],
        "model": ["OpenAIModelNotFoundError", 404, "model_not_found"],
    },
    "litellm": {
        "picture": ["BadRequestError", 400],
        "key": ["AuthenticationError", 401],
        "model": ["NotFoundError", 404],
    },
}
REFUSALS["node"] = REFUSALS["openai"]


@clients("is_refused")
def test_refusals_are_the_sdks_own_exceptions_with_our_code(told: Told, client: str) -> None:
    assert told(client)["is_refused"] == REFUSALS[client]


class BusyOnce(FakeEngine):
    """Refuses its first chat as overloaded, and notes when each came."""

    def __init__(self) -> None:
        super().__init__()
        self.came: list[float] = []

    async def _chat(self, request: Request) -> Response:
        self.came.append(time.monotonic())
        self.fail = 429 if len(self.came) == 1 else None
        return await super()._chat(request)


@pytest.mark.parametrize("client", STEPS)
def test_a_busy_gateway_is_asked_again(client: str) -> None:
    """SDKs try again by themselves: after half a second, but for what the gateway says, which is one second."""
    engine = BusyOnce()
    with serving(engine.app) as engine_url, gateway(engine_url, auth=AUTH) as busy:
        told = run(client, busy, "demo", "waits_and_tries_again")
    assert told["waits_and_tries_again"] == "3 objects: red circle"
    assert len(engine.came) == 2
    assert engine.came[1] - engine.came[0] >= 1


def test_every_program_is_a_client_of_the_set_up() -> None:
    programs = {path.name for path in (ROOT / "tests" / "clients").iterdir() if path.is_file()}
    assert programs == {*PROGRAMS.values(), "steps.py"}


def test_the_guides_lines_are_the_programs_own() -> None:
    guide = (ROOT / "docs" / "clients.md").read_text()
    shown = [re.search(r"\.\./tests/clients/([\w.]+)\)(.*)", part, re.DOTALL) for part in guide.split("\n## ")]
    programs = {found[1]: found[2] for found in shown if found}
    assert programs.keys() == set(PROGRAMS.values())
    for name, section in programs.items():
        for block in re.findall(r"```\w+\n(.*?)```", section, re.DOTALL):
            own = iter(lines_of((ROOT / "tests" / "clients" / name).read_text()))
            assert [line for line in lines_of(block) if line not in own] == [], (
                f"{name} has not these in this order"
            )


def lines_of(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
