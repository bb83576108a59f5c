from typing import Any

import orjson
import pytest

from server.api.messages.request import parse_messages_request
from server.domain import ParsedRequest
from server.errors import CallerError, FieldRefused

TEXT = {"type": "text", "text": "What is this?"}
TOOL = {"name": "count", "description": "Counts.", "input_schema": {"properties": {"n": {"type": "integer"}}}}


def image(**source: Any) -> dict[str, Any]:
    return {"type": "image", "source": source or {"type": "base64", "media_type": "image/png", "data": "AAAA"}}


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks) or "Hi"}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def body(*turns: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "demo", "max_tokens": 8, "messages": list(turns) or [user()], **fields}


def parse(*turns: dict[str, Any], **fields: Any) -> ParsedRequest:
    return parse_messages_request(orjson.dumps(body(*turns, **fields)))


def chat(*turns: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The chat request that is made of it."""
    return parse(*turns, **fields).body


def messages(*turns: dict[str, Any], **fields: Any) -> Any:
    return chat(*turns, **fields)["messages"]


def test_the_least_there_is_becomes_a_chat() -> None:
    request = parse()
    assert request.body == {"model": "demo", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8}
    assert (request.route, request.model, request.stream, request.max_tokens) == ("chat", "demo", False, 8)
    assert (request.text_bytes, request.images) == (2, ())


def test_a_stream_asks_for_usage_in_every_chunk() -> None:
    asked = chat(stream=True)
    assert asked["stream"] is True
    assert asked["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}


def test_how_to_sample_and_where_to_stop_are_passed_on() -> None:
    asked = chat(temperature=0.5, top_p=0.9, top_k=3, stop_sequences=["END"])
    assert (asked["temperature"], asked["top_p"], asked["top_k"], asked["stop"]) == (0.5, 0.9, 3, ["END"])


def test_what_an_engine_has_no_use_for_is_not_passed_on() -> None:
    cached = {"type": "ephemeral"}
    turn = user({**TEXT, "cache_control": cached})
    asked = chat(turn, metadata={"user_id": "ann"}, cache_control=cached, service_tier="auto")
    assert asked.keys() == {"model", "messages", "max_tokens"}
    assert asked["messages"] == [{"role": "user", "content": "What is this?"}]


@pytest.mark.parametrize(
    "system", ["Be short.", [{"type": "text", "text": "Be "}, {"type": "text", "text": "short."}]]
)
def test_a_system_prompt_comes_first(system: Any) -> None:
    assert messages(system=system)[0] == {"role": "system", "content": "Be short."}


def test_system_messages_between_turns_go_to_the_system_prompt() -> None:
    said = messages(user(), {"role": "system", "content": "Now in French."}, user(), system="Be short. ")
    assert [message["role"] for message in said] == ["system", "user", "user"]
    assert said[0]["content"] == "Be short. Now in French."


def test_a_billing_header_is_no_system_prompt() -> None:
    header = {"type": "text", "text": "x-anthropic-billing-header: cch=1"}
    assert messages(system=[header, {"type": "text", "text": "Be short."}])[0]["content"] == "Be short."
    assert messages(system=[header])[0]["role"] == "user"


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ({"type": "base64", "media_type": "image/jpeg", "data": "AAAA"}, "data:image/png;base64,AAAA"),
        ({"type": "base64", "data": "AA,A"}, "data:image/png;base64,AA,A"),
        ({"type": "url", "url": "https://example.com/a.png"}, "https://example.com/a.png"),
        ({"type": "file", "file_id": "file-1"}, "file-1"),
    ],
)
def test_pictures_are_found_under_the_path_at_which_they_were_sent(source: dict[str, Any], url: str) -> None:
    request = parse(user(TEXT, image(**source)), system="Be short.")
    (found,) = request.images
    assert (found.path, found.url) == ("messages[0].content[1].source", url)
    assert request.body["messages"][1]["content"][1] is found.part


def test_the_url_of_a_picture_is_nowhere_in_the_chat_that_is_made() -> None:
    assert b"example.com" not in orjson.dumps(chat(user(image(type="url", url="https://example.com/"))))


def test_a_tools_result_is_a_message_before_the_rest_of_its_turn() -> None:
    call = {"type": "tool_use", "id": "call-1", "name": "count", "input": {"n": 3}, "caller": {"type": "direct"}}
    result = {"type": "tool_result", "tool_use_id": "call-1", "content": [TEXT, image()], "is_error": False}
    request = parse(user(), assistant(TEXT, call), user(TEXT, result, image()))
    said = request.body["messages"]
    assert said[1] == {
        "role": "assistant",
        "content": "What is this?",
        "tool_calls": [{"id": "call-1", "type": "function", "function": {"name": "count", "arguments": '{"n":3}'}}],
    }
    assert said[2] == {"role": "tool", "tool_call_id": "call-1", "content": "What is this?"}
    assert said[3]["role"] == "user"
    assert said[3]["content"][0] is request.images[0].part
    assert said[4]["content"][0] == TEXT
    assert said[4]["content"][1] is request.images[1].part
    paths = [source.path for source in request.images]
    assert paths == ["messages[2].content[1].content[1].source", "messages[2].content[2].source"]


@pytest.mark.parametrize(
    ("content", "said"), [("3", "3"), (None, ""), ([TEXT, TEXT], "What is this?\nWhat is this?")]
)
def test_a_tools_result_may_be_a_text_several_or_none(content: Any, said: str) -> None:
    result = {"type": "tool_result", "tool_use_id": "call-1", "content": content}
    assert messages(user(result)) == [{"role": "tool", "tool_call_id": "call-1", "content": said}]


def test_thoughts_are_given_back_as_reasoning_and_unreadable_ones_left_out() -> None:
    thoughts = [
        {"type": "thinking", "thinking": "Hm. ", "signature": "x"},
        {"type": "thinking", "thinking": "Yes."},
    ]
    said = messages(user(), assistant(*thoughts, {"type": "redacted_thinking", "data": "eA=="}, TEXT), user())
    assert said[1] == {"role": "assistant", "reasoning": "Hm. Yes.", "content": "What is this?"}


def test_an_answer_that_was_begun_is_continued() -> None:
    asked = chat(user(), {"role": "assistant", "content": "There are"})
    assert (asked["continue_final_message"], asked["add_generation_prompt"]) == (True, False)
    assert "continue_final_message" not in chat(user(), {"role": "assistant", "content": "Yes"}, user())
    assert "continue_final_message" not in chat(user(), {"role": "assistant", "content": ""})


def test_tools_and_their_choice_are_chats() -> None:
    asked = chat(tools=[{**TOOL, "type": "custom", "strict": True, "cache_control": None}])
    parameters = {"type": "object", "properties": {"n": {"type": "integer"}}}
    function = {"name": "count", "description": "Counts.", "parameters": parameters, "strict": True}
    assert asked["tools"] == [{"type": "function", "function": function}]
    assert asked["tool_choice"] == "auto"
    assert "parallel_tool_calls" not in asked


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "count"}, {"type": "function", "function": {"name": "count"}}),
    ],
)
def test_every_choice_of_tools_has_its_counterpart(choice: dict[str, Any], told: Any) -> None:
    several = chat(tools=[TOOL], tool_choice=choice)
    assert (several["tool_choice"], several["parallel_tool_calls"]) == (told, True)
    single = chat(tools=[TOOL], tool_choice={**choice, "disable_parallel_tool_use": True})
    assert (single["tool_choice"], single["parallel_tool_calls"]) == (told, False)


@pytest.mark.parametrize(
    ("thinking", "told"),
    [
        ({"type": "disabled"}, {"reasoning_effort": "none"}),
        ({"type": "adaptive"}, {"reasoning_effort": "low"}),
        (
            {"type": "enabled", "budget_tokens": 1024},
            {"reasoning_effort": "low", "thinking_token_budget": 1024},
        ),
    ],
)
def test_thinking_is_told_as_vllm_does(thinking: dict[str, Any], told: dict[str, Any]) -> None:
    asked = chat(max_tokens=2048, thinking=thinking, output_config={"effort": "low"})
    assert {field: asked[field] for field in asked.keys() - {"model", "messages", "max_tokens"}} == told


def test_a_schema_shapes_the_answer() -> None:
    asked = chat(output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}})
    schema = {"name": "json_schema", "schema": {"type": "object"}}
    assert asked["response_format"] == {"type": "json_schema", "json_schema": schema}


RESULT = {"type": "tool_result", "tool_use_id": "call-1"}
USE = {"type": "tool_use", "id": "call-1", "name": "count", "input": {}}
MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no max_tokens": ({"max_tokens": None}, "max_tokens"),
    "max_tokens of nothing": ({"max_tokens": 0}, "max_tokens"),
    "max_tokens true": ({"max_tokens": True}, "max_tokens"),
    "no model": ({"model": ""}, "model"),
    "stream as a word": ({"stream": "yes"}, "stream"),
    "temperature as a word": ({"temperature": "hot"}, "temperature"),
    "top_k true": ({"top_k": True}, "top_k"),
    "one stop sequence": ({"stop_sequences": "END"}, "stop_sequences"),
    "an empty stop sequence": ({"stop_sequences": [""]}, "stop_sequences"),
    "no messages": ({"messages": []}, "messages"),
    "too many messages": ({"messages": [user()] * 4097}, "messages"),
    "a message that is none": ({"messages": ["Hi"]}, "messages[0]"),
    "an unknown role": ({"messages": [{"role": "tool", "content": "Hi"}]}, "messages[0].role"),
    "no content": ({"messages": [{"role": "user"}]}, "messages[0].content"),
    "a block that is none": ({"messages": [user("Hi")]}, "messages[0].content[0]"),  # type: ignore[arg-type]
    "a block without a type": ({"messages": [user({"text": "Hi"})]}, "messages[0].content[0].type"),
    "a document": ({"messages": [user(TEXT, {"type": "document"})]}, "messages[0].content[1].type"),
    "a search result": ({"messages": [user({"type": "search_result"})]}, "messages[0].content[0].type"),
    "a call by the user": ({"messages": [user(USE)]}, "messages[0].content[0].type"),
    "a picture by the assistant": ({"messages": [assistant(image())]}, "messages[0].content[0].type"),
    "a server's tool": ({"messages": [assistant({"type": "server_tool_use"})]}, "messages[0].content[0].type"),
    "text of no text": ({"messages": [user({"type": "text"})]}, "messages[0].content[0].text"),
    "a program's call": (
        {"messages": [assistant({**USE, "caller": {"type": "code_execution_20260120"}})]},
        "messages[0].content[0].caller",
    ),
    "a citation": ({"messages": [user({**TEXT, "citations": [{}]})]}, "messages[0].content[0].citations"),
    "a source that is none": (
        {"messages": [user({"type": "image", "source": "x"})]},
        "messages[0].content[0].source",
    ),
    "an unknown source": ({"messages": [user(image(type="s3"))]}, "messages[0].content[0].source"),
    "a source of a list": ({"messages": [user(image(type=[]))]}, "messages[0].content[0].source"),
    "no data": ({"messages": [user(image(type="base64"))]}, "messages[0].content[0].source.data"),
    "a url as a file": (
        {"messages": [user(image(type="file", file_id="https://a.b/c"))]},
        "messages[0].content[0].source.file_id",
    ),
    "a document as a result": (
        {"messages": [user({**RESULT, "content": [{"type": "document"}]})]},
        "messages[0].content[0].content[0].type",
    ),
    "a result of nobody": (
        {"messages": [user({"type": "tool_result", "content": "3"})]},
        "messages[0].content[0].tool_use_id",
    ),
    "input as text": ({"messages": [assistant({**USE, "input": "{}"})]}, "messages[0].content[0].input"),
    "a picture for a system": ({"system": [image()]}, "system[0].type"),
    "a system of a number": ({"system": 5}, "system"),
    "a tool of Anthropic's": ({"tools": [TOOL, {"type": "web_search_20250305"}]}, "tools[1].type"),
    "a tool without a name": ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
    "a tool without a schema": ({"tools": [{"name": "count"}]}, "tools[0].input_schema"),
    "a tool that is none": ({"tools": ["count"]}, "tools[0]"),
    "a description of a number": ({"tools": [{**TOOL, "description": 1}]}, "tools[0].description"),
    "a strictness of words": ({"tools": [{**TOOL, "strict": "very"}]}, "tools[0].strict"),
    "tools that are none": ({"tools": {}}, "tools"),
    "a choice of nothing": ({"tool_choice": {"type": "auto"}}, "tool_choice"),
    "an unknown choice": ({"tools": [TOOL], "tool_choice": {"type": "all"}}, "tool_choice.type"),
    "a choice as a word": ({"tools": [TOOL], "tool_choice": "auto"}, "tool_choice"),
    "a choice of no name": ({"tools": [TOOL], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
    "half a parallel": (
        {"tools": [TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": 1}},
        "tool_choice.disable_parallel_tool_use",
    ),
    "unknown thinking": ({"thinking": {"type": "hard"}}, "thinking.type"),
    "thinking as a word": ({"thinking": "enabled"}, "thinking"),
    "a budget larger than the answer": (
        {"max_tokens": 2048, "thinking": {"type": "enabled", "budget_tokens": 2048}},
        "thinking.budget_tokens",
    ),
    "a small budget": ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "thinking.budget_tokens"),
    "an unknown effort": ({"output_config": {"effort": "none"}}, "output_config.effort"),
    "an unknown format": ({"output_config": {"format": {"type": "xml"}}}, "output_config.format"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_by_its_path(mistake: str) -> None:
    fields, param = MISTAKES[mistake]
    with pytest.raises(CallerError) as caught:
        parse(**fields)
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"cache_salt": "mine"}, "cache_salt"),
        ({"kv_transfer_params": {}}, "kv_transfer_params"),
        ({"chat_template_kwargs": {}}, "chat_template_kwargs"),
        ({"mcp_servers": []}, "mcp_servers"),
        ({"max_completion_tokens": 5}, "max_completion_tokens"),
        ({"messages": [{**user(), "name": "ann"}]}, "messages[0].name"),
        ({"messages": [user({**image(), "uuid": "mine"})]}, "messages[0].content[0].uuid"),
        ({"messages": [user(image(type="url", url="u", uuid="mine"))]}, "messages[0].content[0].source.uuid"),
        ({"messages": [user({**TEXT, "uuid": "mine"})]}, "messages[0].content[0].uuid"),
        ({"messages": [user({**RESULT, "uuid": "mine"})]}, "messages[0].content[0].uuid"),
        ({"messages": [assistant({**USE, "strict": True})]}, "messages[0].content[0].strict"),
        ({"tools": [{**TOOL, "defer_loading": True}]}, "tools[0].defer_loading"),
        ({"tools": [TOOL], "tool_choice": {"type": "auto", "x": 1}}, "tool_choice.x"),
        ({"thinking": {"type": "disabled", "x": 1}}, "thinking.x"),
        ({"output_config": {"x": 1}}, "output_config.x"),
    ],
)
def test_an_unknown_field_is_refused_by_its_path(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(FieldRefused) as caught:
        parse(**fields)
    assert caught.value.param == param
