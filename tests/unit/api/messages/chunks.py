"""Chat chunks as vLLM streams them, and what a message's events say."""

from collections.abc import Iterable
from typing import Any

import orjson

DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}


def event(value: Any) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def chunk(finish: str | None = None, stop: Any = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "stop_reason": stop}
    usage = {"prompt_tokens": 20, "completion_tokens": 0, "total_tokens": 20}
    return {"id": "chatcmpl-1", "model": "demo", "choices": [choice], "usage": usage}


def call(index: int, arguments: str = "", name: str | None = None) -> dict[str, Any]:
    """A part of one tool call; its first part has a name."""
    if name is None:
        return {"index": index, "function": {"arguments": arguments}}
    return {
        "index": index,
        "id": f"call-{index}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def stream(*chunks: dict[str, Any]) -> bytes:
    """A whole stream: the role first, usage last."""
    usage = {"id": "chatcmpl-1", "model": "demo", "choices": [], "usage": USAGE}
    whole = (chunk(role="assistant", content=""), *chunks, usage)
    return b"".join(event(each) for each in whole) + DONE


def told(events: bytes) -> list[dict[str, Any]]:
    """The events' data; each event's name is its data's type."""
    found = []
    for each in events.split(b"\n\n")[:-1]:
        name, data = each.split(b"\n")
        found.append(orjson.loads(data.removeprefix(b"data: ")))
        assert name == b"event: " + found[-1]["type"].encode()
    return found


def types(events: Iterable[dict[str, Any]]) -> list[str]:
    """Types in their order; deltas of one block count once."""
    short: list[str] = []
    for each in events:
        kind = each["type"].removeprefix("content_block_")
        if kind != "delta" or short[-1] != kind:
            short.append(kind)
    return short


def blocks(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a caller puts together; asserts that blocks are numbered in order and never overlap."""
    made: list[dict[str, Any]] = []
    is_open = False
    for each in events:
        match each["type"]:
            case "content_block_start":
                assert not is_open
                assert each["index"] == len(made)
                made.append({**each["content_block"], "said": ""})
                is_open = True
            case "content_block_delta":
                assert is_open
                assert each["index"] == len(made) - 1
                kind = each["delta"]["type"]
                if kind == "signature_delta":
                    made[-1]["signature"] = each["delta"]["signature"]
                else:
                    field = "partial_json" if kind == "input_json_delta" else kind.removesuffix("_delta")
                    made[-1]["said"] += each["delta"][field]
            case "content_block_stop":
                assert is_open
                assert each["index"] == len(made) - 1
                is_open = False
    assert not is_open
    return made


def without_absent(value: Any) -> Any:
    """Without nulls, and without who called a tool: Anthropic's schema asks for both, vLLM leaves them out."""
    if isinstance(value, list):
        return [without_absent(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: without_absent(each) for name, each in value.items() if each is not None and name != "caller"}
