"""/v1/messages: a chat's chunks into the events of a message, one at a time.

    message_start (content_block_start content_block_delta* content_block_stop)* message_delta message_stop

Blocks never overlap: what opens one closes the one before it.
"""

from typing import Any, Literal
from uuid import uuid4

import orjson

from server.api.messages.frames import MOST_HELD_BYTES
from server.api.messages.words import (
    ABSENT,
    count,
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

PING = b'event: ping\ndata: {"type":"ping"}\n\n'
MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
END_OF_CHAT = b"[DONE]"
Kind = Literal["text", "thinking", "tool_use"]


class MessageEvents:
    """What has been said so far of one message. Holds no more of it than the last call's arguments, bounded."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._events: list[bytes] = []
        self._started = False
        self.ended = False
        self._usage: Any = None
        self._finish: Any = None
        self._stop: Any = None
        self._block = -1
        self._open: Kind | None = None
        self._call = -1
        self._arguments = bytearray()
        self._late_text = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The events that one event of the chat becomes. Raises EngineError."""
        self._events = []
        if self.ended:
            return []
        if data == END_OF_CHAT:
            self._end()
        else:
            self._take(parse_object(data, self._engine))
        return self._events

    def _take(self, chunk: Json) -> None:
        if "error" in chunk:
            raise EngineError(f"{self._engine} failed inside its answer.")
        self._usage = chunk.get("usage") or self._usage
        if not self._started:
            self._start(chunk)
        choice = dig(chunk, "choices", 0)
        if choice is None:
            return
        if dig(choice, "finish_reason") is not None:
            self._finish, self._stop = choice["finish_reason"], choice.get("stop_reason")
        delta = dig(choice, "delta")
        if thought := words_at(delta, "reasoning"):
            self._say("thinking", thought)
        if text := words_at(delta, "content"):
            self._say("text", text)
        for call in dig(delta, "tool_calls") or ():
            self._take_call(call)

    def _start(self, chunk: Json) -> None:
        self._started = True
        message: Json = {
            "id": message_id(chunk.get("id")),
            "type": "message",
            "role": "assistant",
            "model": chunk.get("model"),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_of(self._usage),
            **ABSENT,
        }
        self._emit("message_start", message=message)

    def _say(self, kind: Literal["text", "thinking"], words: str) -> None:
        if self._open == "tool_use" and kind == "text":
            # More of the call may come, and blocks do not overlap: text waits until the call is whole.
            self._hold(self._late_text, words)
            return
        if self._open != kind:
            self._open_block(kind, text_block("") if kind == "text" else thinking_block("", ""))
        self._emit("content_block_delta", index=self._block, delta={"type": f"{kind}_delta", kind: words})

    def _take_call(self, call: Any) -> None:
        index, name = count(call, "index"), words_at(call, "function", "name")
        if index > self._call and name:
            self._call = index
            self._arguments.clear()
            call_id = words_at(call, "id") or f"toolu_{uuid4().hex}"
            self._open_block("tool_use", tool_use_block(call_id, name, {}))
        arguments = words_at(call, "function", "arguments")
        if not arguments:
            return
        if index != self._call or self._open != "tool_use":
            # Left out, they would make another call of it than the model's.
            raise EngineError(f"{self._engine} sent arguments of a tool call that is not under way.")
        self._hold(self._arguments, arguments)
        delta = {"type": "input_json_delta", "partial_json": arguments}
        self._emit("content_block_delta", index=self._block, delta=delta)

    def _open_block(self, kind: Kind, block: Json) -> None:
        self._close_block()
        self._block += 1
        self._open = kind
        self._emit("content_block_start", index=self._block, content_block=block)

    def _close_block(self) -> None:
        if self._open is None:
            return
        if self._open == "thinking":
            signature = {"type": "signature_delta", "signature": thinking_signature()}
            self._emit("content_block_delta", index=self._block, delta=signature)
        self._emit("content_block_stop", index=self._block)
        self._open = None
        if self._late_text:
            words = self._late_text.decode()
            self._late_text.clear()
            self._say("text", words)
            self._close_block()

    def _end(self) -> None:
        if not self._started:
            raise EngineError(f"{self._engine} said nothing.")
        self._close_block()
        called = self._call >= 0
        stop = stop_of(self._finish or "stop", self._stop, called, called and is_json(self._arguments))
        delta = {"stop_reason": stop.reason, "stop_sequence": stop.sequence, **ABSENT}
        self._emit("message_delta", delta=delta, usage=usage_of(self._usage))
        self._events.append(MESSAGE_STOP)
        self.ended = True

    def _hold(self, held: bytearray, words: str) -> None:
        held += words.encode()
        if len(held) > MOST_HELD_BYTES:
            raise EngineError(f"{self._engine} sent a tool call of more than {MOST_HELD_BYTES} bytes.")

    def _emit(self, kind: str, **fields: Any) -> None:
        data = orjson.dumps({"type": kind, **fields})
        self._events.append(b"event: %s\ndata: %s\n\n" % (kind.encode(), data))


def is_json(text: bytearray) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
