"""/v1/messages: chat's words for a message's id, end and usage in Anthropic's."""

from typing import Any, NamedTuple
from uuid import uuid4

import orjson

from server.domain import Json
from server.errors import EngineError

# The published schema asks for these in every answer. Here they are null: they tell of what only Anthropic does.
ABSENT: Json = {"container": None, "stop_details": None}
USAGE = (
    "cache_creation cache_creation_input_tokens cache_read_input_tokens inference_geo output_tokens_details"
    " server_tool_use service_tier"
).split()


class Stop(NamedTuple):
    reason: str | None
    sequence: str | None


def stop_of(finish_reason: Any, stop_reason: Any, called: bool, calls_whole: bool) -> Stop:
    """Why an answer ended. `called`: it holds a tool call; `calls_whole`: and the last one's arguments are JSON.

    Reaching max_tokens comes first, for then a call may be cut short; so does a stop sequence that cut one.
    """
    if finish_reason == "length":
        return Stop("max_tokens", None)
    if finish_reason not in ("stop", "tool_calls"):
        return Stop(None, None)
    if calls_whole:
        return Stop("tool_use", None)
    if isinstance(stop_reason, str):  # a number is a stop token's
        return Stop("stop_sequence", stop_reason)
    return Stop("tool_use" if called or finish_reason == "tool_calls" else "end_turn", None)


def text_block(text: str) -> Json:
    return {"type": "text", "text": text, "citations": None}


def thinking_block(thought: str, signature: str) -> Json:
    return {"type": "thinking", "thinking": thought, "signature": signature}


def tool_use_block(call_id: str, name: str, given: Json) -> Json:
    return {"type": "tool_use", "id": call_id, "name": name, "input": given, "caller": {"type": "direct"}}


def usage_of(usage: Any) -> Json:
    """Anthropic counts as input only what was not read from a cache; vLLM tells that only where it is set so."""
    told: Json = dict.fromkeys(USAGE)
    told |= {"input_tokens": count(usage, "prompt_tokens"), "output_tokens": count(usage, "completion_tokens")}
    details = dig(usage, "prompt_tokens_details")
    for ours, theirs in (("cached_tokens", "cache_read"), ("created_cache_tokens", "cache_creation")):
        if isinstance(dig(details, ours), int):
            told[f"{theirs}_input_tokens"] = details[ours]
            told["input_tokens"] = max(0, told["input_tokens"] - details[ours])
    return told


def message_id(chat_id: Any) -> str:
    return "msg_" + str(chat_id or uuid4().hex).removeprefix("chatcmpl-")


def thinking_signature() -> str:
    """Callers rely on one. It signs nothing: thoughts come back to us as they please, and are only read again."""
    return uuid4().hex


def parse_object(data: bytes | str, engine: str) -> Json:
    """Raises EngineError."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as problem:
        raise EngineError(f"{engine} sent what is not JSON.") from problem
    if not isinstance(value, dict):
        raise EngineError(f"{engine} sent what is not a chat's answer.")
    return value


def dig(value: Any, *path: str | int) -> Any:
    """What lies at `path`; None where there is no such thing."""
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and len(value) > step else None
    return value


def words_at(value: Any, *path: str | int) -> str:
    """The string at `path`; empty where there is none."""
    found = dig(value, *path)
    return found if isinstance(found, str) else ""


def count(usage: Any, field: str) -> int:
    value = dig(usage, field)
    return value if isinstance(value, int) else 0
