"""Reads an answer's events: when words came, what they were, what the server counted, and how it ended."""

from dataclasses import dataclass, field
from typing import Any

import orjson

from loadtest.records import MOST_TOKEN_TIMES

DATA = b"data:"
DONE = b"[DONE]"
MOST_EVENT_BYTES = 4 * 1024**2


class ProtocolError(ValueError):
    """What came is no stream of chat completion chunks."""


@dataclass(slots=True)
class Heard:
    """What has been heard so far; `feed` it the bytes as they come."""

    token_s: list[float] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    prompt_tokens: int = 0
    output_tokens: int = 0
    code: str = ""
    done: bool = False
    _rest: bytes = b""

    def feed(self, data: bytes, at_s: float) -> None:
        """Raises ProtocolError."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MOST_EVENT_BYTES:
            raise ProtocolError
        for line in lines:
            if line.startswith(DATA):
                self._hear(line[len(DATA) :].strip(), at_s)

    def _hear(self, text: bytes, at_s: float) -> None:
        if text == DONE:
            self.done = True
            return
        try:
            event = orjson.loads(text)
        except orjson.JSONDecodeError as problem:
            raise ProtocolError from problem
        if not isinstance(event, dict):
            raise ProtocolError
        if "error" in event:
            self.code = code_of(event, "error")
        if isinstance(usage := event.get("usage"), dict):
            self.prompt_tokens = usage.get("prompt_tokens") or 0
            self.output_tokens = usage.get("completion_tokens") or 0
        for choice in event.get("choices") or ():
            delta = choice.get("delta") if isinstance(choice, dict) else None
            if isinstance(delta, dict):
                self._hear_words(delta, at_s)

    def _hear_words(self, delta: dict[str, Any], at_s: float) -> None:
        words = delta.get("content") or delta.get("reasoning_content") or delta.get("reasoning")
        if words and len(self.token_s) < MOST_TOKEN_TIMES:
            self.token_s.append(at_s)
            self.words.append(str(words))


def code_of(body: object, otherwise: str) -> str:
    """The server's stable code, where its error says one: our gateway a word, vLLM a number."""
    error = body.get("error") if isinstance(body, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return str(code or otherwise)[:64]
