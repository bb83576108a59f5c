"""Bounds on what a request costs an engine besides its tokens: counts, lists, and what is compiled into grammars.

Every number here is what OpenAI's own API takes, or more, and far below what was seen to hold up a real engine:
vLLM 0.32 on two cores worked 41 s on 1,000 prompts, and over a minute on 100,000 choices or on a regex of nested
repetitions.
What a bound does not name is the engine's own to refuse.
"""

from collections.abc import Callable, Mapping
from typing import Any

from server.api.parsing.fields import refuse_fields
from server.api.parsing.schemas import check_grammar, check_pattern, check_schema
from server.domain import Json
from server.errors import CallerError, FieldRefused

MOST_LOGPROBS = 20
MOST_ANSWERS = 16
STRUCTURED_FIELDS = frozenset(
    "json regex choice grammar json_object structural_tag disable_any_whitespace disable_additional_properties"
    " whitespace_pattern".split()
)
MOST_CHOICES = 1000
# vLLM hands these on to the template and to the functions that render and tokenise it.
TEMPLATE_INSIDES = frozenset(
    "chat_template conversation messages tools documents tokenize tokenizer_kwargs processor_kwargs padding"
    " truncation max_length return_tensors return_dict return_assistant_tokens_mask add_generation_prompt"
    " continue_final_message model_config mm_processor_kwargs media_io_kwargs load_audio_from_video".split()
)


def check_bounds(body: Json) -> None:
    """Raises CallerError or FieldRefused for the first field that asks for too much."""
    if CHECKS.keys().isdisjoint(body):  # as of most
        return
    for field, check in CHECKS.items():
        if body.get(field) is not None:
            check(body[field], field)
    if body.get("echo") and body.get("logprobs"):
        raise FieldRefused("The log probabilities of a prompt are not told: leave out 'echo'.", "echo")


def whole(least: int, most: int) -> Callable[[Any, str], None]:
    def check(value: Any, path: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise CallerError(f"The field '{path}' must be a whole number from {least} to {most}.", path)

    return check


def logprobs(value: Any, path: str) -> None:
    if not isinstance(value, bool):
        whole(0, MOST_LOGPROBS)(value, path)


def strings(most: int, longest: int, or_one: bool = False) -> Callable[[Any, str], None]:
    def check(value: Any, path: str) -> None:
        each = [value] if or_one and isinstance(value, str) else value
        if not isinstance(each, list) or not all(isinstance(item, str) and len(item) <= longest for item in each):
            raise CallerError(f"The field '{path}' must hold strings of at most {longest} characters.", path)
        count(each, most, path)

    return check


def tokens(most: int) -> Callable[[Any, str], None]:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, list) or not all(type(item) is int and item >= 0 for item in value):
            raise CallerError(f"The field '{path}' must be a list of token ids.", path)
        count(value, most, path)

    return check


def entries(most: int) -> Callable[[Any, str], None]:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise CallerError(f"The field '{path}' must be an object.", path)
        count(value, most, path)

    return check


def count(value: list[Any] | Json, most: int, path: str) -> None:
    if len(value) > most:
        raise CallerError(f"The field '{path}' holds {len(value)} entries; at most {most} are taken.", path)


def tools(value: Any, path: str) -> None:
    """Their parameters become a grammar where a call is asked for."""
    if not isinstance(value, list):
        raise CallerError(f"The field '{path}' must be a list.", path)
    count(value, 128, path)
    for index, tool in enumerate(value):
        check_schema(tool, f"{path}[{index}]")


def structured_outputs(value: Any, path: str) -> None:
    if not isinstance(value, dict):
        raise CallerError(f"The field '{path}' must be an object.", path)
    refuse_fields(value, STRUCTURED_FIELDS, path)
    for field in ("regex", "whitespace_pattern"):
        if value.get(field) is not None:
            check_pattern(value[field], f"{path}.{field}")
    if value.get("choice") is not None:
        strings(MOST_CHOICES, 1000)(value["choice"], f"{path}.choice")
    for field in ("grammar", "structural_tag", "json"):
        if isinstance(value.get(field), str):
            check_grammar(value[field], f"{path}.{field}")
    check_schema(value.get("json"), f"{path}.json")


def template_kwargs(value: Any, path: str) -> None:
    """Switches of the model's own template: plain values, under no name that rendering itself listens to."""
    if not isinstance(value, dict):
        raise CallerError(f"The field '{path}' must be an object.", path)
    count(value, 16, path)
    for name, each in value.items():
        if name in TEMPLATE_INSIDES or isinstance(each, list | dict):
            raise FieldRefused(f"The field '{name}' is not accepted here.", f"{path}.{name}")
        if isinstance(each, str) and len(each) > 256:
            raise CallerError("A switch of the template holds at most 256 characters.", f"{path}.{name}")


CHECKS: Mapping[str, Callable[[Any, str], None]] = {
    "n": whole(1, MOST_ANSWERS),
    "best_of": whole(1, MOST_ANSWERS),
    "logprobs": logprobs,
    "top_logprobs": whole(0, MOST_LOGPROBS),
    "stop": strings(16, 1000, or_one=True),
    "bad_words": strings(128, 256),
    "stop_token_ids": tokens(128),
    "allowed_token_ids": tokens(8192),
    "logit_bias": entries(1024),
    "metadata": entries(64),
    "tools": tools,
    "response_format": check_schema,
    "text": check_schema,
    "structured_outputs": structured_outputs,
    "chat_template_kwargs": template_kwargs,
}
