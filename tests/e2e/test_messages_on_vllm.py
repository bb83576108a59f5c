"""/v1/messages on real vLLM: through the gateway, and asked directly of the engine's own /v1/messages."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from server.domain import Json
from tests.conftest import Stack
from tests.contract.test_messages import COUNT, MESSAGES, TOOL, image_block, text_block
from tests.pictures import data_url, picture
from tests.unit.api.messages.chunks import blocks, told, types, without_absent

PICTURE = picture(size=(128, 96), colour="blue")
ASKED = {"role": "user", "content": [image_block(PICTURE), text_block()]}
USE = {"type": "tool_use", "id": "call-1", "name": "report", "input": {"count": 3}}
SEEN = {"type": "tool_result", "tool_use_id": "call-1", "content": [text_block("3"), text_block("objects")]}
SHOWN = {"type": "tool_result", "tool_use_id": "call-1", "content": [image_block(PICTURE)]}
CASES: dict[str, Json] = {
    "a picture": {},
    "text alone": {"messages": [{"role": "user", "content": "How many objects are there?"}]},
    "a system prompt": {"system": [text_block("Count "), text_block("things.")]},
    "several turns": {"messages": [ASKED, {"role": "assistant", "content": "Blue."}, ASKED]},
    "one token": {"max_tokens": 1},
    "no thinking": {"thinking": {"type": "disabled"}},
    "a tool that must be called": {"tools": [TOOL], "tool_choice": {"type": "any"}, "max_tokens": 96},
    "a tool by name": {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "report"}, "max_tokens": 96},
    "half a call": {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "report"}, "max_tokens": 2},
    "tools as it likes": {"tools": [TOOL]},
    "no tools now": {"tools": [TOOL], "tool_choice": {"type": "none"}},
    "a tool's result": {
        "messages": [ASKED, {"role": "assistant", "content": [USE]}, {"role": "user", "content": [SEEN]}],
        "tools": [TOOL],
    },
    "a tool's picture": {
        "messages": [ASKED, {"role": "assistant", "content": [USE]}, {"role": "user", "content": [SHOWN]}],
        "tools": [TOOL],
    },
    "a schema": {"output_config": {"format": {"type": "json_schema", "schema": COUNT}}, "max_tokens": 96},
}


@pytest.fixture(scope="module")
def engine(fp8: Stack) -> Iterator[httpx2.Client]:
    """The engine itself, which only the gateway should reach."""
    with httpx2.Client(base_url=fp8.engine, timeout=120) as http:
        yield http


@pytest.fixture(scope="module")
def gateway(fp8: Stack) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=fp8.url, timeout=120) as http:
        yield http


def body_of(fp8: Stack, **fields: Any) -> Json:
    return {"model": fp8.model, "max_tokens": 16, "temperature": 0, "messages": [ASKED], **fields}


def whole(http: httpx2.Client, body: Json) -> Json:
    response = http.post(MESSAGES, json=body)
    assert response.status_code == 200, response.text
    message: Json = without_absent(response.json())
    assert message.pop("id")
    for block in message["content"]:
        assert block.pop("id", "made up")
    return message


def streamed(http: httpx2.Client, body: Json) -> Json:
    response = http.post(MESSAGES, json={**body, "stream": True})
    assert response.status_code == 200, response.text
    events = without_absent(told(response.content))
    made = blocks(events)
    for block in made:
        assert block.pop("id", "made up")
    begun = events[0]["message"]["usage"]
    return {"types": types(events), "blocks": made, "begun": begun, "ended": events[-2]}


@pytest.mark.parametrize("case", [case for case in CASES if case != "half a call"])
def test_a_whole_answer_is_the_engines_own(
    fp8: Stack, gateway: httpx2.Client, engine: httpx2.Client, case: str
) -> None:
    body = body_of(fp8, **CASES[case])
    assert whole(gateway, body) == whole(engine, body)


@pytest.mark.parametrize("case", CASES)
def test_a_stream_is_the_engines_own(fp8: Stack, gateway: httpx2.Client, engine: httpx2.Client, case: str) -> None:
    body = body_of(fp8, **CASES[case])
    ours = streamed(gateway, body)
    assert ours == streamed(engine, body)
    assert ours["ended"]["usage"]["output_tokens"] > 0


def test_a_stop_sequence_is_named_and_left_out(fp8: Stack, gateway: httpx2.Client, engine: httpx2.Client) -> None:
    """What stops it is a word of the answer itself."""
    said = whole(gateway, body_of(fp8))["content"][0]["text"]
    word = said.split()[-1]
    body = body_of(fp8, stop_sequences=[word])
    ours = whole(gateway, body)
    assert (ours["stop_reason"], ours["stop_sequence"]) == ("stop_sequence", word)
    assert word not in ours["content"][0]["text"]
    assert ours == whole(engine, body)
    assert streamed(gateway, body) == streamed(engine, body)


def test_a_call_that_was_cut_short_is_told_as_text(fp8: Stack, gateway: httpx2.Client) -> None:
    """The engine's own /v1/messages parses its arguments, and fails."""
    message = whole(gateway, body_of(fp8, **CASES["half a call"]))
    assert message["stop_reason"] == "max_tokens"
    assert [block["type"] for block in message["content"]] == ["text"]


@pytest.mark.parametrize(
    "case", ["a picture", "a system prompt", "several turns", "tools as it likes", "no thinking"]
)
def test_tokens_are_counted_as_they_are_used(
    fp8: Stack, gateway: httpx2.Client, engine: httpx2.Client, case: str
) -> None:
    body = body_of(fp8, **CASES[case])
    asked = {field: body[field] for field in body.keys() - {"max_tokens", "temperature"}}
    counts = [
        http.post(f"{MESSAGES}/count_tokens", json=asked).json()["input_tokens"] for http in (gateway, engine)
    ]
    assert counts == [whole(gateway, body)["usage"]["input_tokens"]] * 2


def test_an_answer_that_was_begun_goes_on_where_it_ends(
    fp8: Stack, gateway: httpx2.Client, engine: httpx2.Client
) -> None:
    begun = {"role": "assistant", "content": "There"}
    body = body_of(fp8, messages=[ASKED, begun])
    parts = [{"type": "image_url", "image_url": {"url": data_url(PICTURE)}}, text_block()]
    asked = {"messages": [{"role": "user", "content": parts}, begun], "continue_final_message": True}
    chat = engine.post("/v1/chat/completions", json={**body, **asked, "add_generation_prompt": False}).json()
    message = whole(gateway, body)
    assert message["content"][0]["text"] == chat["choices"][0]["message"]["content"]
    assert message["usage"]["input_tokens"] == chat["usage"]["prompt_tokens"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": -1}, "temperature"),
        ({"top_p": 5}, "top_p"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "other"}}, "tool_choice"),
        ({"max_tokens": 2048, "thinking": {"type": "enabled", "budget_tokens": 1024}}, None),
    ],
)
def test_what_the_engine_refuses_is_the_callers_to_mend(
    fp8: Stack, gateway: httpx2.Client, fields: Json, param: str | None
) -> None:
    response = gateway.post(MESSAGES, json=body_of(fp8, **fields))
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (400, "invalid_request_error"), response.text
    assert (error["code"], error["param"]) == ("rejected_by_engine", param)
