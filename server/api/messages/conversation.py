"""/v1/messages: Anthropic's turns and their blocks as chat messages, the way vLLM's own translation makes them.

A tool's result is a chat message of its own, before what else its turn says; pictures in a result follow it in
a user message. Anthropic's blocks that have no counterpart in chat are refused by their path.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from server.api.messages.blocks import read_image, read_string, read_text
from server.api.parsing.chat import MOST_MESSAGES
from server.api.parsing.fields import refuse_fields
from server.domain import ImageSource, Json
from server.errors import CallerError

TURN_FIELDS = frozenset({"role", "content"})
RESULT_FIELDS = frozenset({"type", "tool_use_id", "content", "is_error", "cache_control"})
USE_FIELDS = frozenset({"type", "id", "name", "input", "caller", "cache_control"})
# Claude Code puts a hash that changes with every request here; no prefix after it could ever be cached.
BILLING_HEADER = "x-anthropic-billing-header"


class Conversation:
    """Chat messages under way. `images` name the paths of the body that was sent, not of the chat."""

    def __init__(self) -> None:
        self.messages: list[Json] = []
        self.images: list[ImageSource] = []
        self.text_bytes = 0

    def add_all(self, system: Any, turns: Any) -> None:
        """Raises FieldRefused or CallerError."""
        if not isinstance(turns, list) or not turns:
            raise CallerError("The field 'messages' must be a list with at least one message.", "messages")
        if len(turns) > MOST_MESSAGES:
            raise CallerError(f"At most {MOST_MESSAGES} messages are taken.", "messages")
        told = list(self._system_texts(system, "system")) if system is not None else []
        for index, turn in enumerate(turns):
            path = f"messages[{index}]"
            if not isinstance(turn, dict):
                raise CallerError("A message must be an object.", path)
            refuse_fields(turn, TURN_FIELDS, path)
            match turn.get("role"):
                case "user":
                    self._add_user_turn(turn.get("content"), f"{path}.content")
                case "assistant":
                    self._add_assistant_turn(turn.get("content"), f"{path}.content")
                case "system":
                    # Templates like Qwen's take a system message at the beginning alone.
                    told += self._system_texts(turn.get("content"), f"{path}.content")
                case _:
                    raise CallerError("The role is user, assistant or system.", f"{path}.role")
        if told:
            self.messages.insert(0, {"role": "system", "content": self._count("".join(told))})

    def as_chat(self) -> Json:
        """Where the last turn is the assistant's, and text alone, the answer goes on where that ends."""
        last = self.messages[-1] if self.messages else {}
        said = last.get("content")
        if last.get("role") != "assistant" or not isinstance(said, str) or not said or "tool_calls" in last:
            return {"messages": self.messages}
        return {"messages": self.messages, "add_generation_prompt": False, "continue_final_message": True}

    def _system_texts(self, content: Any, path: str) -> Iterator[str]:
        if isinstance(content, str):
            yield content
            return
        for kind, block, at in blocks_of(content, path):
            if kind != "text":
                raise not_taken("a system prompt", "text", at)
            text = read_text(block, at)
            if not text.startswith(BILLING_HEADER):
                yield text

    def _add_user_turn(self, content: Any, path: str) -> None:
        if isinstance(content, str):
            self.messages.append({"role": "user", "content": self._count(content)})
            return
        parts: list[Json] = []
        for kind, block, at in blocks_of(content, path):
            match kind:
                case "text":
                    parts += self._text_part(block, at)
                case "image":
                    parts.append(self._image_part(block, at))
                case "tool_result":
                    self._add_result(block, at)
                case _:
                    raise not_taken("a user message", "text, image or tool_result", at)
        if parts:
            self.messages.append({"role": "user", "content": as_content(parts)})

    def _add_assistant_turn(self, content: Any, path: str) -> None:
        message: Json = {"role": "assistant"}
        self.messages.append(message)
        if isinstance(content, str):
            message["content"] = self._count(content)
            return
        parts: list[Json] = []
        for kind, block, at in blocks_of(content, path):
            match kind:
                case "text":
                    parts += self._text_part(block, at)
                case "thinking":
                    refuse_fields(block, frozenset({"type", "thinking", "signature"}), at)
                    thought = self._count(read_string(block, "thinking", at))
                    message["reasoning"] = message.get("reasoning", "") + thought
                case "redacted_thinking":
                    pass  # Nobody but Anthropic can read it.
                case "tool_use":
                    message.setdefault("tool_calls", []).append(self._tool_call(block, at))
                case _:
                    raise not_taken("an assistant message", "text, thinking or tool_use", at)
        if parts:
            message["content"] = as_content(parts)

    def _add_result(self, block: Json, path: str) -> None:
        """What a tool said: its texts in a message of the tool, its pictures in a user message after that."""
        refuse_fields(block, RESULT_FIELDS, path)
        call, content = read_string(block, "tool_use_id", path), block.get("content")
        texts, pictures = [], []
        if isinstance(content, str):
            texts.append(content)
        elif content is not None:
            for kind, inner, at in blocks_of(content, f"{path}.content"):
                match kind:
                    case "text":
                        texts.append(read_text(inner, at))
                    case "image":
                        pictures.append(self._image_part(inner, at))
                    case _:
                        raise not_taken("a tool's result", "text or image", at)
        said = self._count("\n".join(texts))
        self.messages.append({"role": "tool", "tool_call_id": call, "content": said})
        if pictures:
            self.messages.append({"role": "user", "content": pictures})

    def _tool_call(self, block: Json, path: str) -> Json:
        refuse_fields(block, USE_FIELDS, path)
        # Our own answers say `direct`: the model called, not a program that runs at Anthropic's.
        if block.get("caller") not in (None, {"type": "direct"}):
            raise CallerError("Only the model calls tools here: caller.type must be direct.", f"{path}.caller")
        call, name = read_string(block, "id", path), read_string(block, "name", path)
        given = block.get("input")
        if not isinstance(given, dict):
            raise CallerError("A tool's input must be an object.", f"{path}.input")
        arguments = self._count(orjson.dumps(given).decode())
        return {"id": call, "type": "function", "function": {"name": name, "arguments": arguments}}

    def _text_part(self, block: Json, path: str) -> list[Json]:
        """No part where there is no text."""
        text = self._count(read_text(block, path))
        return [{"type": "text", "text": text}] if text else []

    def _image_part(self, block: Json, path: str) -> Json:
        part: Json = {"type": "image_url", "image_url": {}}
        self.images.append(ImageSource(f"{path}.source", read_image(block, path), part))
        return part

    def _count(self, text: str) -> str:
        self.text_bytes += len(text)
        return text


def blocks_of(content: Any, path: str) -> Iterator[tuple[str, Json, str]]:
    """The type, the block and the path of each."""
    if not isinstance(content, list):
        raise CallerError("Content must be a string or a list of blocks.", path)
    for index, block in enumerate(content):
        if not isinstance(block, dict):
            raise CallerError("A content block must be an object.", f"{path}[{index}]")
        kind = block.get("type")
        yield kind if isinstance(kind, str) else "", block, f"{path}[{index}]"


def as_content(parts: list[Json]) -> str | list[Json]:
    """One text alone is a string."""
    if len(parts) == 1 and parts[0]["type"] == "text":
        return str(parts[0]["text"])
    return parts


def not_taken(where: str, taken: str, path: str) -> CallerError:
    return CallerError(f"Blocks of this type are not taken in {where}: use {taken}.", f"{path}.type")
