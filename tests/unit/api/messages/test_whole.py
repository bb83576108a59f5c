from typing import Any

import orjson
import pytest

from server.api.messages.whole import translate_whole
from server.errors import EngineError
from tests.unit.api.messages.chunks import USAGE


def chat(finish: str = "stop", stop: Any = None, **message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish, "stop_reason": stop}
    return {"id": "chatcmpl-1", "object": "chat.completion", "model": "demo", "choices": [choice], "usage": USAGE}


def tell(value: dict[str, Any]) -> Any:
    return orjson.loads(translate_whole(orjson.dumps(value), "engine-0"))


def call(arguments: str) -> dict[str, Any]:
    return {"id": "call-1", "type": "function", "function": {"name": "count", "arguments": arguments}}


def test_a_text_is_a_message_of_one_block() -> None:
    assert tell(chat(content="3 objects", reasoning=None, tool_calls=[])) == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "demo",
        "content": [{"type": "text", "text": "3 objects", "citations": None}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
        "usage": {
            "input_tokens": 20,
            "output_tokens": 5,
            "output_tokens_details": None,
            "cache_creation": None,
            "cache_creation_input_tokens": None,
            "cache_read_input_tokens": None,
            "inference_geo": None,
            "server_tool_use": None,
            "service_tier": None,
        },
    }


def test_thoughts_text_and_calls_come_in_this_order() -> None:
    told = tell(chat("tool_calls", content="3", reasoning="Hm.", tool_calls=[call('{"n": 3}'), call("{}")]))
    assert [block["type"] for block in told["content"]] == ["thinking", "text", "tool_use", "tool_use"]
    assert told["content"][0]["thinking"] == "Hm."
    called = {"type": "tool_use", "id": "call-1", "name": "count", "input": {"n": 3}, "caller": {"type": "direct"}}
    assert told["content"][2] == called
    assert told["stop_reason"] == "tool_use"


@pytest.mark.parametrize("arguments", ['{"n', "", "5"])
def test_a_call_that_was_cut_short_is_no_call(arguments: str) -> None:
    told = tell(chat("length", content=None, tool_calls=[call(arguments)]))
    assert told["content"] == [{"type": "text", "text": arguments, "citations": None}]
    assert told["stop_reason"] == "max_tokens"


def test_an_answer_of_nothing_has_one_empty_block() -> None:
    assert tell(chat(content=None))["content"] == [{"type": "text", "text": "", "citations": None}]


def test_a_stop_sequence_is_named() -> None:
    told = tell(chat(stop="END", content="3"))
    assert (told["stop_reason"], told["stop_sequence"]) == ("stop_sequence", "END")


@pytest.mark.parametrize("whole", [b"", b"{", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"message": 5}]}'])
def test_what_is_no_chats_answer_is_an_engine_that_failed(whole: bytes) -> None:
    with pytest.raises(EngineError):
        translate_whole(whole, "engine-0")
