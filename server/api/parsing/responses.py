"""/v1/responses: instructions, and an input of text or of items.

Nothing is kept between requests: what refers to an earlier one is refused by name, and so is every tool that
something else than the caller would have to run. vLLM's own store has no bound, so it is never asked to use it.
"""

from typing import Any

from server.api.parsing.fields import refuse_fields
from server.api.parsing.items import parse_items
from server.domain import ImageSource, Json
from server.errors import CallerError, FieldRefused

FIELDS = frozenset(
    "model input instructions stream stream_options max_output_tokens max_tool_calls metadata parallel_tool_calls"
    " reasoning store temperature top_p top_logprobs text tool_choice tools truncation user include service_tier"
    " safety_identifier prompt_cache_key background previous_response_id conversation prompt"
    " top_k min_p repetition_penalty presence_penalty frequency_penalty logit_bias seed stop stop_token_ids"
    " include_stop_str_in_output ignore_eos skip_special_tokens structured_outputs include_reasoning"
    " chat_template_kwargs".split()
)
REFUSED = {
    "background": "Responses are not worked on in the background: leave out 'background', and use 'stream'.",
    "previous_response_id": "Responses are not kept: send the earlier items in 'input'.",
    "conversation": "Conversations are not kept: send the earlier items in 'input'.",
    "prompt": "Prompt templates are not kept: send the text in 'instructions' and 'input'.",
}
TOOLS = frozenset({"function", "custom"})
TOOL_CHOICES = TOOLS | {"allowed_tools"}
HOSTED_TOOLS = (
    "Tools of this type are not run here: describe it as a tool of type 'function', run it yourself and send its"
    " result as a function_call_output."
)


def parse(body: Json) -> tuple[list[ImageSource], int]:
    """The images of an input in order, and the bytes of its text. Raises FieldRefused or CallerError.

    Of `body`, fields that ask for nothing are taken out, and `store` is always false for the engine.
    """
    for field, instead in REFUSED.items():
        if body.pop(field, None):
            raise FieldRefused(instead, field)
    if not isinstance(body.get("store") or False, bool):
        raise CallerError("The field 'store' must be true or false.", "store")
    body["store"] = False
    check_tools(body.get("tools"), "tools")
    check_tool_choice(body.get("tool_choice"))
    instructions = body.get("instructions")
    if not isinstance(instructions, str | None):
        raise CallerError("The field 'instructions' must be a string.", "instructions")
    images, text_bytes = parse_items(body.get("input"))
    return images, text_bytes + len(instructions or "")


def check_tools(tools: Any, path: str) -> None:
    """Only tools that the caller itself runs: an engine must never be told of one to reach."""
    if tools is None:
        return
    if not isinstance(tools, list):
        raise CallerError("The field 'tools' must be a list.", path)
    for index, tool in enumerate(tools):
        check_type(tool, TOOLS, f"{path}[{index}]")


def check_tool_choice(choice: Any) -> None:
    if choice is None or isinstance(choice, str):
        return
    check_type(choice, TOOL_CHOICES, "tool_choice")
    if choice["type"] == "allowed_tools":
        refuse_fields(choice, frozenset({"type", "mode", "tools"}), "tool_choice")
        check_tools(choice.get("tools"), "tool_choice.tools")


def check_type(tool: Any, allowed: frozenset[str], path: str) -> None:
    if not isinstance(tool, dict) or not isinstance(tool.get("type"), str):
        raise CallerError("A tool must be an object with a type.", path)
    if tool["type"] not in allowed:
        raise FieldRefused(HOSTED_TOOLS, f"{path}.type")
