"""The same attacks on every surface that takes images: all of them must go through the same checks."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.hostile.image_cases import BROKEN, LIES, PNG, STATUS, Case
from tests.hostile.scene import Scene
from tests.pictures import data_url

SETTINGS = {"images": {"deny_domains": ["denied.example"]}}
Body = dict[str, Any]


@dataclass(frozen=True)
class Surface:
    """`body` puts an image's URL into a request; `param` is where an error must point."""

    path: str
    body: Callable[[str], Body]
    param: str


def in_chat(url: str) -> Body:
    part = {"type": "image_url", "image_url": {"url": url}}
    return {"model": "demo", "max_tokens": 8, "messages": [{"role": "user", "content": [part]}]}


def in_chat_as_a_string(url: str) -> Body:
    return {"model": "demo", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": url}]}]}


def in_a_tools_answer(url: str) -> Body:
    part = {"type": "image_url", "image_url": {"url": url}}
    return {"model": "demo", "messages": [{"role": "tool", "tool_call_id": "a", "content": [part]}]}


def in_tokenize(url: str) -> Body:
    return without_max_tokens(in_chat(url))


def in_count_tokens(url: str) -> Body:
    return without_max_tokens(in_messages(url))


def without_max_tokens(body: Body) -> Body:
    return {name: value for name, value in body.items() if name != "max_tokens"}


def in_responses(url: str) -> Body:
    content = [{"type": "input_image", "image_url": url}]
    return {"model": "demo", "input": [{"role": "user", "content": content}]}


def in_a_calls_output(url: str) -> Body:
    output = [{"type": "input_image", "image_url": url}]
    return {"model": "demo", "input": [{"type": "function_call_output", "call_id": "a", "output": output}]}


def source(url: str) -> Body:
    if url.startswith("data:image/png;base64,"):
        return {"type": "base64", "media_type": "image/png", "data": url.partition(",")[2]}
    return {"type": "url", "url": url}


def in_messages(url: str) -> Body:
    block = {"type": "image", "source": source(url)}
    return {"model": "demo", "max_tokens": 8, "messages": [{"role": "user", "content": [block]}]}


def in_a_tools_result(url: str) -> Body:
    call = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "image", "source": source(url)}]}
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    return {"model": "demo", "max_tokens": 8, "messages": turns}


SURFACES = {
    "chat": Surface("/v1/chat/completions", in_chat, "messages[0].content[0]"),
    "chat, as a string": Surface("/v1/chat/completions", in_chat_as_a_string, "messages[0].content[0]"),
    "chat, of a tool": Surface("/v1/chat/completions", in_a_tools_answer, "messages[0].content[0]"),
    "responses": Surface("/v1/responses", in_responses, "input[0].content[0]"),
    "responses, of a call": Surface("/v1/responses", in_a_calls_output, "input[0].output[0]"),
    "messages": Surface("/v1/messages", in_messages, "messages[0].content[0]"),
    "messages, of a tool": Surface("/v1/messages", in_a_tools_result, "messages[2].content[0]"),
    "messages, counted": Surface("/v1/messages/count_tokens", in_count_tokens, "messages[0].content[0]"),
    "tokenize": Surface("/tokenize", in_tokenize, "messages[0].content[0]"),
}
URLS = {
    "loopback": "https://127.0.0.1:{port}/",
    "loopback, decimal": "https://2130706433:{port}/",
    "loopback, mapped": "https://[::ffff:127.0.0.1]:{port}/",
    "loopback, NAT64": "https://[64:ff9b::7f00:1]:{port}/",
    "metadata": "https://169.254.169.254/latest/meta-data/",
    "metadata of Azure": "https://168.63.129.16/",
    "without TLS": "http://127.0.0.1:{port}/",
    "a file": "file:///etc/passwd",
    "user before a host": "https://good.example@127.0.0.1:{port}/",
    "relative": "a.png",
    "denied": "https://a.denied.example/",
    "of 10,000 letters": "https://a.example/" + "a" * 10_000,
    "spaces": "   ",
}
DATA = {
    "garbage": "data:image/png;base64,!!!!",
    "a comma within": "data:image/png;base64,iVBO,Rw0KGgo=",
    "good, and a tail of garbage": data_url(PNG) + "!!",
    "a data URL within": "data:image/png;base64,data:image/png;base64,iVBORw0KGgo=",
    "long, and a tail of garbage": data_url(PNG + bytes(9000)) + "\\u0041!",
}
SOME = "a PNG of 2^31 by 2^31|a JPEG of 65 scans|a PNG with a wrong checksum|an SVG|a JPEG, 50% of it|a video"
CHOSEN = [case for case in LIES if case.name in SOME.split("|")]


def refused(scene: Scene, surface: Surface, url: str, status: int, code: str) -> None:
    answer = scene.post(surface.path, surface.body(url))
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code, error
    assert error["param"].startswith(surface.param), error
    assert "127.0.0.1" not in answer.text


@pytest.mark.parametrize("name", URLS)
@pytest.mark.parametrize("surface", SURFACES)
def test_an_image_url_is_refused_wherever_it_stands(scene: Scene, surface: str, name: str) -> None:
    url = URLS[name].replace("{port}", str(scene.trap.port))
    refused(scene, SURFACES[surface], url, 400, "image_url_refused")


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("surface", SURFACES)
def test_a_data_url_is_refused_wherever_it_stands(scene: Scene, surface: str, name: str) -> None:
    refused(scene, SURFACES[surface], DATA[name], 400, BROKEN)


@pytest.mark.parametrize("case", CHOSEN, ids=lambda case: case.name)
@pytest.mark.parametrize("surface", SURFACES)
def test_an_image_that_lies_is_refused_wherever_it_stands(scene: Scene, surface: str, case: Case) -> None:
    refused(scene, SURFACES[surface], data_url(case.data), STATUS[case.code], case.code)


@pytest.mark.parametrize("surface", SURFACES)
def test_a_good_picture_is_taken_under_our_identity_wherever_it_stands(scene: Scene, surface: str) -> None:
    answer = scene.post(SURFACES[surface].path, SURFACES[surface].body(data_url(PNG)))
    assert answer.status_code == 200, answer.text
    ((_, sent),) = scene.engine.seen
    assert base64.b64encode(PNG) in sent
    (identity,) = set(identities(json.loads(sent)))
    assert len(identity) == 64
    scene.engine.seen.clear()


def identities(value: Any) -> list[str]:
    """Every `uuid` in a body."""
    if isinstance(value, dict):
        own = [value["uuid"]] if "uuid" in value else []
        return own + [each for inner in value.values() for each in identities(inner)]
    return [each for inner in value for each in identities(inner)] if isinstance(value, list) else []


@pytest.mark.parametrize("surface", SURFACES)
def test_no_surface_lets_a_caller_choose_an_identity(scene: Scene, surface: str) -> None:
    """A `uuid` at every place of a body, one at a time."""
    body = SURFACES[surface].body(data_url(PNG))
    places = [place for place in objects(body) if place is not body.get("input")]
    for place in places:
        place["uuid"] = "chosen"
        answer = scene.post(SURFACES[surface].path, body)
        del place["uuid"]
        if answer.status_code == 200:  # an input that a tool was given is the caller's own text
            assert place == {}
            assert all("chosen" not in identities(json.loads(sent)) for _, sent in scene.engine.seen)
            scene.engine.seen.clear()
        else:
            assert answer.json()["error"]["code"] == "field_not_allowed", answer.text


def objects(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value, *(each for inner in value.values() for each in objects(inner))]
    return [each for inner in value for each in objects(inner)] if isinstance(value, list) else []
