"""Reads an answer's events: when words came, what they were, what the server counted, and how it ended."""

from dataclasses import dataclass, field
from typing import Any

import orjson

from loadtest.records import MOST_TOKEN_TIMES

DATA = b"data:"
DONE = b"[DONE]"
MOST_EVENT_BYTES = 4 * 1024**2
MOST_WORDS = 1024**2  # characters of one answer that are kept for the next turn
MOST_TOKENS = 10**9
MOST_WORD = 64


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
    _said: int = 0

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
        if event.get("error"):  # some servers say null where there is none
            self.code = code_of(event, "error")
        if isinstance(usage := event.get("usage"), dict):
            self.prompt_tokens = count_of(usage.get("prompt_tokens"))
            self.output_tokens = count_of(usage.get("completion_tokens"))
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            delta = choice.get("delta") if isinstance(choice, dict) else None
            if isinstance(delta, dict):
                self._hear_words(delta, at_s)

    def _hear_words(self, delta: dict[str, Any], at_s: float) -> None:
        words = delta.get("content") or delta.get("reasoning_content") or delta.get("reasoning")
        if words and len(self.token_s) < MOST_TOKEN_TIMES:
            self.token_s.append(at_s)
            self.words.append(str(words)[: MOST_WORDS - self._said])
            self._said += len(self.words[-1])


def code_of(body: object, otherwise: str) -> str:
    """The server's stable code, where its error says one: our gateway a word, vLLM a number."""
    error = body.get("error") if isinstance(body, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return word_of(str(code or otherwise))


def word_of(told: str) -> str:
    """What a server says in a word, as it may be written down and shown: short, and no control characters."""
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in told[:MOST_WORD])


def count_of(told: object) -> int:
    """0 where it is no count: a server's nonsense is no figure, and spoils no other."""
    return told if isinstance(told, int) and 0 <= told <= MOST_TOKENS else 0
