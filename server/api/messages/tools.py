"""/v1/messages: the tools that a caller offers, and how the model may choose, as chat has them."""

from typing import Any

from server.api.parsing.fields import refuse_fields
from server.domain import Json
from server.errors import CallerError

TOOL_FIELDS = frozenset({"type", "name", "description", "input_schema", "strict", "cache_control"})
CHOICE_FIELDS = frozenset({"type", "name", "disable_parallel_tool_use"})
CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def translate_offer(body: Json) -> Json:
    """The tools, and how the model may choose among them."""
    if tools := translate_tools(body.get("tools")):
        return {"tools": tools, **translate_tool_choice(body.get("tool_choice"))}
    if body.get("tool_choice") is not None:
        raise CallerError("A tool_choice needs tools.", "tool_choice")
    return {}


def translate_tools(tools: Any) -> list[Json]:
    """The caller's own tools. Those that run at Anthropic's have a type of their own and are refused."""
    if tools is None:
        return []
    if not isinstance(tools, list):
        raise CallerError("The field 'tools' must be a list.", "tools")
    return [translate_tool(tool, f"tools[{index}]") for index, tool in enumerate(tools)]


def translate_tool(tool: Any, path: str) -> Json:
    if not isinstance(tool, dict):
        raise CallerError("A tool must be an object.", path)
    if tool.get("type") not in (None, "custom"):
        raise CallerError("Only tools of your own are taken, of the type custom.", f"{path}.type")
    refuse_fields(tool, TOOL_FIELDS, path)
    name, description, schema = tool.get("name"), tool.get("description"), tool.get("input_schema")
    if not isinstance(name, str) or not name:
        raise CallerError("A tool must have a name.", f"{path}.name")
    if not isinstance(description, str | None):
        raise CallerError("A tool's description is a string.", f"{path}.description")
    if not isinstance(schema, dict):
        raise CallerError("A tool must have an input_schema.", f"{path}.input_schema")
    function: Json = {"name": name, "description": description, "parameters": {"type": "object", **schema}}
    if (strict := tool.get("strict")) is not None:
        if not isinstance(strict, bool):
            raise CallerError("A tool is strict or not: true or false.", f"{path}.strict")
        function["strict"] = strict
    return {"type": "function", "function": function}


def translate_tool_choice(choice: Any) -> Json:
    """The chat's tool_choice, and whether several tools may be called at once."""
    if choice is None:
        return {"tool_choice": "auto"}
    if not isinstance(choice, dict):
        raise CallerError("The field 'tool_choice' must be an object.", "tool_choice")
    refuse_fields(choice, CHOICE_FIELDS, "tool_choice")
    single = choice.get("disable_parallel_tool_use") or False
    if not isinstance(single, bool):
        raise CallerError("This is true or false.", "tool_choice.disable_parallel_tool_use")
    kind, name = choice.get("type"), choice.get("name")
    if kind == "tool":
        if not isinstance(name, str) or not name:
            raise CallerError("A choice of one tool must name it.", "tool_choice.name")
        return {
            "tool_choice": {"type": "function", "function": {"name": name}},
            "parallel_tool_calls": not single,
        }
    if not isinstance(kind, str) or kind not in CHOICES:
        raise CallerError("The choice is auto, any, tool or none.", "tool_choice.type")
    return {"tool_choice": CHOICES[kind], "parallel_tool_calls": not single}
