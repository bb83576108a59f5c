"""/v1/messages: a whole chat answer as a whole message."""

from typing import Any

import orjson

from server.api.messages.words import (
    ABSENT,
    dig,
    message_id,
    parse_object,
    stop_of,
    text_block,
    thinking_block,
    thinking_signature,
    tool_use_block,
    usage_of,
    words_at,
)
from server.domain import Json
from server.errors import EngineError


def translate_whole(whole: bytes, engine: str) -> bytes:
    """Raises EngineError where `whole` is not a chat's answer."""
    chat = parse_object(whole, engine)
    choice = dig(chat, "choices", 0)
    message = dig(choice, "message")
    if not isinstance(message, dict):
        raise EngineError(f"{engine} sent what is not a chat's answer.")
    content = tell_blocks(message)
    called = any(block["type"] == "tool_use" for block in content)
    stop = stop_of(dig(choice, "finish_reason"), dig(choice, "stop_reason"), called, called)
    return orjson.dumps(
        {
            "id": message_id(chat.get("id")),
            "type": "message",
            "role": "assistant",
            "model": chat.get("model"),
            # Callers rely on a first block, be it an empty one.
            "content": content or [text_block("")],
            "stop_reason": stop.reason,
            "stop_sequence": stop.sequence,
            "usage": usage_of(chat.get("usage")),
            **ABSENT,
        }
    )


def tell_blocks(message: Json) -> list[Json]:
    """Thoughts, text and calls, in this order."""
    blocks: list[Json] = []
    if thought := words_at(message, "reasoning"):
        blocks.append(thinking_block(thought, thinking_signature()))
    if text := words_at(message, "content"):
        blocks.append(text_block(text))
    calls = message.get("tool_calls")
    return blocks + [tell_call(call) for call in (calls if isinstance(calls, list) else [])]


def tell_call(call: Any) -> Json:
    """A call, or, where its arguments were cut short, their text: nobody shall run half a call."""
    arguments = words_at(call, "function", "arguments")
    try:
        given = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict):
        return text_block(arguments)
    return tool_use_block(words_at(call, "id"), words_at(call, "function", "name"), given)
