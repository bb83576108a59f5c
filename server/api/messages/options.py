"""/v1/messages: how an answer shall be made, as chat has it: sampling, effort, thinking, and its form."""

from math import inf
from typing import Any

from server.api.parsing.fields import refuse_fields
from server.domain import Json
from server.errors import CallerError

SAMPLING = frozenset({"temperature", "top_p", "top_k"})
LEAST_THINKING_TOKENS = 1024
EFFORTS = ("low", "medium", "high", "xhigh", "max")


def translate_sampling(body: Json) -> Json:
    chat: Json = {}
    for field in sorted(SAMPLING):
        value = body.get(field)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise CallerError(f"The field '{field}' must be a number.", field)
        chat[field] = value
    stops = body.get("stop_sequences")
    if stops is not None:
        if not isinstance(stops, list) or not all(isinstance(stop, str) and stop for stop in stops):
            raise CallerError("The stop sequences must be a list of strings.", "stop_sequences")
        chat["stop"] = stops
    return chat


def translate_output_config(config: Any) -> Json:
    """The effort, and the schema of an answer in JSON."""
    if config is None:
        return {}
    config = as_object(config, "output_config", "effort", "format")
    chat: Json = {}
    if (effort := config.get("effort")) is not None:
        if effort not in EFFORTS:
            raise CallerError(f"The effort is one of {', '.join(EFFORTS)}.", "output_config.effort")
        chat["reasoning_effort"] = effort
    if (wanted := config.get("format")) is not None:
        wanted = as_object(wanted, "output_config.format", "type", "schema")
        if wanted.get("type") != "json_schema" or not isinstance(wanted.get("schema"), dict):
            raise CallerError("A format holds the type json_schema and a schema.", "output_config.format")
        schema = {"name": "json_schema", "schema": wanted["schema"]}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    return chat


def translate_thinking(thinking: Any, max_tokens: int | None) -> Json:
    """Thinking off is the effort `none`, by which vLLM tells the template; a budget is vLLM's own to keep."""
    if thinking is None:
        return {}
    thinking = as_object(thinking, "thinking", "type", "budget_tokens", "display")
    match thinking.get("type"):
        case "disabled":
            return {"reasoning_effort": "none"}
        case "adaptive":
            return {}
        case "enabled":
            budget = thinking.get("budget_tokens")
            if not is_count(budget) or not LEAST_THINKING_TOKENS <= budget < (max_tokens or inf):
                raise CallerError(
                    f"The thinking budget must be at least {LEAST_THINKING_TOKENS} and less than max_tokens.",
                    "thinking.budget_tokens",
                )
            return {"thinking_token_budget": budget}
    raise CallerError("Thinking is enabled, disabled or adaptive.", "thinking.type")


def as_object(value: Any, path: str, *fields: str) -> Json:
    """`value`, which is an object of no other fields than these."""
    if not isinstance(value, dict):
        raise CallerError("This must be an object.", path)
    refuse_fields(value, frozenset(fields), path)
    return value


def is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
