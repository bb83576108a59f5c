"""/v1/completions: text alone."""

from typing import Any

from server.api.parsing.fields import OPENAI_FIELDS, VLLM_FIELDS
from server.domain import ImageSource, Json
from server.errors import CallerError

# Each is a request of its own to the engine.
MOST_PROMPTS = 64
FIELDS = OPENAI_FIELDS | VLLM_FIELDS | frozenset({"prompt", "best_of", "suffix"})


def parse(body: Json) -> tuple[list[ImageSource], int]:
    """No images, and the bytes of text. Raises CallerError."""
    return [], measure_prompt(body.get("prompt"))


def measure_prompt(prompt: Any) -> int:
    """Bytes of a text prompt, or of a list of them; tokens, and lists of these, count four bytes a token."""
    if isinstance(prompt, str):
        return len(prompt)
    if isinstance(prompt, list) and prompt:
        if are_tokens(prompt):
            return 4 * len(prompt)
        if len(prompt) > MOST_PROMPTS:
            raise CallerError(f"The field 'prompt' holds {len(prompt)} prompts; at most {MOST_PROMPTS}.", "prompt")
        if all(isinstance(each, str) for each in prompt):
            return sum(map(len, prompt))
        if all(isinstance(each, list) and each and are_tokens(each) for each in prompt):
            return 4 * sum(map(len, prompt))
    raise CallerError("The field 'prompt' must hold a string, or a list of strings or tokens.", "prompt")


def count_prompts(prompt: Any) -> int:
    """Of one that `measure_prompt` has let through."""
    return 1 if isinstance(prompt, str) or isinstance(prompt[0], int) else len(prompt)


def are_tokens(prompt: list[Any]) -> bool:
    return all(type(token) is int and token >= 0 for token in prompt)
