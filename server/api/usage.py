"""What an engine counts in its answer, in whichever words it is told: tokens of the prompt and of the answer."""

import json
from typing import Any

import orjson

from server.domain import Json

# Longer ones are full of log probabilities, and take longer to parse than their count is worth: only the count is
# read then, so many bytes of it.
MOST_BYTES = 256 * 1024
COUNT_BYTES = 4096
COUNT = b'"usage":'
NAMES = (("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens"))

Usage = tuple[int, int]


def read_usage(told: bytes) -> Usage | None:
    """Of a whole answer, or of events of a stream the last that says it. Only where the engine itself writes it
    is looked: what a model or a caller wrote may look the same."""
    if len(told) > MOST_BYTES:
        return last_usage(told)
    if not told.startswith((b"data:", b"event:", b":")):
        return usage_in(told)
    for line in reversed(told.splitlines()):
        if line.startswith(b"data:") and b'"usage"' in line:
            found = usage_in(line[len(b"data:") :])
            if found is not None:
                return found
    return None


def last_usage(told: bytes) -> Usage | None:
    """By the last name that says so, without parsing what is before it: inside a string its quotes are escaped, so
    that nothing that a model writes is taken for it; and engines write it behind their choices."""
    at = told.rfind(COUNT)
    if at < 0:
        return None
    text = told[at + len(COUNT) : at + len(COUNT) + COUNT_BYTES].decode(errors="replace")
    try:
        found, _ = json.JSONDecoder().raw_decode(text.lstrip())
    except ValueError:
        return None
    return tokens_of(found) if isinstance(found, dict) else None


def usage_in(text: bytes) -> Usage | None:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict):
        return None
    usage = document.get("usage")
    if isinstance(usage, dict):
        return tokens_of(usage)
    inner: Any = document.get("response")
    usage = inner.get("usage") if isinstance(inner, dict) else None
    return tokens_of(usage) if isinstance(usage, dict) else None


def tokens_of(usage: Json) -> Usage | None:
    for prompt_name, answer_name in NAMES:
        prompt = usage.get(prompt_name)
        if isinstance(prompt, int):
            # Of prompts alone, some engines leave the answer out.
            answer = usage.get(answer_name)
            return prompt, answer if isinstance(answer, int) else 0
    return None
