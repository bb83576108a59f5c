"""/v1/completions: text alone."""

from typing import Any

from server.api.parsing.fields import OPENAI_FIELDS, VLLM_FIELDS
from server.domain import ImageSource, Json
from server.errors import CallerError

FIELDS = OPENAI_FIELDS | VLLM_FIELDS | frozenset({"prompt", "best_of", "suffix"})


def parse(body: Json) -> tuple[list[ImageSource], int]:
    """No images, and the bytes of text. Raises CallerError."""
    return [], measure_prompt(body.get("prompt"))


def measure_prompt(prompt: Any) -> int:
    """Bytes of a text prompt or of a list of them; token lists count four bytes a token."""
    if isinstance(prompt, str):
        return len(prompt)
    if isinstance(prompt, list) and prompt:
        return sum(len(item) if isinstance(item, str | list) else 4 for item in prompt)
    raise CallerError("The field 'prompt' must hold a string, or a list of strings or tokens.", "prompt")
