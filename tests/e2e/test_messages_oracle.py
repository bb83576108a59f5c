"""Our translation of messages beside vLLM's own, on the same requests, answers and streams."""

import json
import os
import subprocess
from typing import Any

import orjson
import pytest

from server.api.messages.events import MessageEvents
from server.api.messages.frames import EventReader
from server.api.messages.request import parse_messages_request
from server.api.messages.whole import translate_whole
from server.domain import Json
from tests.conftest import ROOT
from tests.unit.api.messages.chunks import call, chunk, stream, told, without_absent
from tests.unit.api.messages.test_request import RESULT, TEXT, TOOL, USE, assistant, body, image, user
from tests.unit.api.messages.test_stream import SAID
from tests.unit.api.messages.test_whole import call as whole_call
from tests.unit.api.messages.test_whole import chat

ENGINE_PYTHON = ROOT / ".venv" / "engine" / "bin" / "python"
THOUGHTS = [
    {"type": "thinking", "thinking": "Hm.", "signature": "x"},
    {"type": "redacted_thinking", "data": "eA=="},
]
SYSTEM = [
    {"type": "text", "text": "x-anthropic-billing-header: 1"},
    {"type": "text", "text": "Be ", "cache_control": {"type": "ephemeral"}},
    {"type": "text", "text": "short."},
]
PNG = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
CHOICES: list[Json] = [*({"type": kind} for kind in ("auto", "any", "none")), {"type": "tool", "name": "count"}]
SCHEMA = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
REQUESTS: dict[str, Json] = {
    "text": body(),
    "a stream": body(stream=True),
    "sampling": body(
        temperature=0.5, top_p=0.9, top_k=3, stop_sequences=["END", "\n"], metadata={"user_id": "ann"}
    ),
    "a system prompt": body(system="Be short."),
    "a system prompt of blocks": body(system=SYSTEM),
    "systems between turns": body(user(), {"role": "system", "content": "Now."}, user(), system="Be short. "),
    "several turns": body(user(), assistant(TEXT), user(TEXT, TEXT)),
    "empty texts": body(user({"type": "text", "text": ""}, TEXT), assistant({"type": "text", "text": ""}), user()),
    "pictures": body(user(image(**PNG), TEXT, image(type="url", url="https://example.com/a.png"))),
    "thoughts": body(user(), assistant(*THOUGHTS, TEXT), user()),
    "a call and its result": body(user(), assistant(TEXT, USE), user({**RESULT, "content": "3", "is_error": True})),
    "calls and results": body(
        user(),
        assistant({**USE, "input": {"a": [1, "ä"]}}, {**USE, "id": "call-2"}),
        user(
            {**RESULT, "content": [TEXT, image(**PNG), TEXT]},
            {"type": "tool_result", "tool_use_id": "call-2"},
            TEXT,
            image(**PNG),
        ),
    ),
    "tools": body(tools=[TOOL, {**TOOL, "name": "b", "strict": True}, {"name": "c", "input_schema": {}}]),
    "effort": body(output_config={"effort": "low"}),
    "a schema": body(output_config=SCHEMA),
    "thinking of its own": body(thinking={"type": "adaptive"}),
    "no thinking": body(thinking={"type": "disabled"}, output_config={"effort": "low"}),
    "a budget for thinking": body(max_tokens=4096, thinking={"type": "enabled", "budget_tokens": 2048}),
    **{f"choice {choice['type']}": body(tools=[TOOL], tool_choice=choice) for choice in CHOICES},
    "one tool at a time": body(tools=[TOOL], tool_choice={"type": "auto", "disable_parallel_tool_use": True}),
}
CACHED = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
ANSWERS: dict[str, Json] = {
    "text": chat(content="3 objects"),
    "nothing": chat(content=""),
    "length": chat("length", content="3"),
    "a stop token": chat(stop=151645, content="3"),
    "a stop sequence": chat(stop="END", content="3"),
    "thoughts": chat(content="3", reasoning="Hm."),
    "calls": chat("tool_calls", content="So:", tool_calls=[whole_call('{"n": 3}'), whole_call("{}")]),
    "a named call": chat("stop", content="", tool_calls=[whole_call('{"n": 3}')]),
    "a call that reached the end": chat("length", content=None, tool_calls=[whole_call("{}")]),
    "from a cache": {**chat(content="3"), "usage": {**CACHED, "prompt_tokens_details": {"cached_tokens": 16}}},
}
STREAMS: dict[str, bytes] = {
    "text": stream(chunk(content="3"), chunk(content=" objects"), chunk("stop")),
    "nothing": stream(chunk("stop")),
    "length": stream(chunk(content="3"), chunk("length")),
    "a stop sequence": stream(chunk(content="3"), chunk("stop", "END")),
    "everything": stream(*SAID),
    "text around a call": stream(
        chunk(content="So:"),
        chunk(tool_calls=[call(0, '{"n"', "count")]),
        chunk(content="\n"),
        chunk(tool_calls=[call(0, ": 3}")]),
        chunk(content="done"),
        chunk("tool_calls"),
    ),
    "thoughts after text": stream(chunk(content="3"), chunk(reasoning="Hm."), chunk(content="4"), chunk("stop")),
    "both in a chunk": stream(chunk(reasoning="Hm.", content="3"), chunk("stop", content="4")),
    "two calls in a chunk": stream(
        chunk(tool_calls=[call(0, "{}", "count"), call(1, "{}", "colour")]), chunk("tool_calls")
    ),
    "half a call": stream(chunk(tool_calls=[call(0, '{"n', "count")]), chunk("stop", "END")),
    "half a call at the end": stream(chunk(tool_calls=[call(0, '{"n', "count")]), chunk("length")),
}


def normal(chat_request: Json) -> Json:
    """Without what is made up or says the same twice; where there are no tools, vLLM looks at no choice of them."""
    left_out = {"request_id", "max_completion_tokens"}
    made = {field: value for field, value in chat_request.items() if field not in left_out}
    made["stop"] = made["stop"] or []
    if not made["tools"]:
        del made["tool_choice"]
    for message in made["messages"]:
        for made_call in message.get("tool_calls") or ():
            made_call["function"]["arguments"] = json.loads(made_call["function"]["arguments"])
    return made


def ours(message: Json) -> Json:
    """The chat that we make, with its pictures where the pipeline puts them."""
    request = parse_messages_request(orjson.dumps(message))
    for source in request.images:
        source.part["image_url"]["url"] = source.url
    return request.body


@pytest.fixture(scope="module")
def vllm() -> Any:
    """All of it at once: importing vLLM takes longer than the rest."""
    given = {
        "requests": [(message, ours(message)) for message in REQUESTS.values()],
        "answers": list(ANSWERS.values()),
        "streams": [each.decode() for each in STREAMS.values()],
    }
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "server/engine/startup")}
    script = ROOT / "tests/e2e/translate_as_vllm.py"
    ran = subprocess.run(
        [ENGINE_PYTHON, script], input=json.dumps(given), env=environ, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    line = next(line for line in ran.stdout.splitlines() if line.startswith("RESULT "))
    result = json.loads(line.removeprefix("RESULT "))
    return {
        "chats": dict(zip(REQUESTS, result["chats"], strict=True)),
        "messages": dict(zip(ANSWERS, result["messages"], strict=True)),
        "streams": dict(zip(STREAMS, result["streams"], strict=True)),
    }


@pytest.mark.parametrize("name", REQUESTS)
def test_we_make_the_same_chat_of_a_message(vllm: Any, name: str) -> None:
    theirs, read = vllm["chats"][name]
    assert normal(read) == normal(theirs)


@pytest.mark.parametrize("name", ANSWERS)
def test_we_make_the_same_message_of_an_answer(vllm: Any, name: str) -> None:
    """But for ids, and signatures, which are made up."""
    made = json.loads(translate_whole(orjson.dumps(ANSWERS[name]), "engine-0"))
    theirs = vllm["messages"][name]
    for message in (made, theirs):
        del message["id"]
        for block in message["content"]:
            block.pop("signature", None)
    assert without_absent(made) == without_absent(theirs)


@pytest.mark.parametrize("name", STREAMS)
def test_we_make_the_same_events_of_a_stream(vllm: Any, name: str) -> None:
    reader, message = EventReader("engine-0"), MessageEvents("engine-0")
    made = told(b"".join(event for data in reader.feed(STREAMS[name]) for event in message.feed(data)))
    theirs = told(vllm["streams"][name].encode())
    for events in (made, theirs):
        for event in events:
            event.get("message", {}).pop("id", None)
            for part in (event.get("delta", {}), event.get("content_block", {})):
                part.pop("signature", None)
    assert without_absent(made) == without_absent(theirs)
