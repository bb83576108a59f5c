from typing import Any

import orjson
import pytest

from server.api.parse import parse_request
from server.domain import ParsedRequest
from server.errors import FieldRefused, GatewayError
from tests.pictures import data_url, picture

URL = data_url(picture())
TEXT = {"type": "input_text", "text": "What is it?"}
IMAGE = {"type": "input_image", "image_url": URL, "detail": "auto"}
CALL = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}


def body_of(given: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "demo", "input": given, **fields}


def message(*content: Any, role: str = "user", **fields: Any) -> dict[str, Any]:
    return {"role": role, "content": list(content), **fields}


def output(*content: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": "c1", "output": list(content), **fields}


def parse(given: Any, **fields: Any) -> ParsedRequest:
    return parse_request("responses", orjson.dumps(body_of(given, **fields)))


def fault(given: Any, **fields: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        parse(given, **fields)
    return caught.value


def test_an_input_may_be_a_string() -> None:
    parsed = parse("hello", instructions="be short", max_output_tokens=5, stream=True)
    assert (parsed.text_bytes, parsed.max_tokens, parsed.stream, parsed.images) == (13, 5, True, ())


def test_images_come_in_order_with_their_paths_and_details() -> None:
    by_id = {"type": "input_image", "file_id": "file-1", "detail": "original"}
    parsed = parse([message(TEXT, IMAGE), CALL, output(TEXT, {**IMAGE, "detail": "low"}), message(by_id)])
    assert [(image.path, image.url, image.detail, image.shape) for image in parsed.images] == [
        ("input[0].content[1].image_url", URL, "auto", "responses"),
        ("input[2].output[1].image_url", URL, "low", "responses"),
        ("input[3].content[0].file_id", "file-1", "high", "responses"),
    ]


def test_text_is_measured_wherever_it_is() -> None:
    said = message({"type": "output_text", "text": "abc", "annotations": []}, role="assistant")
    thought = {
        "type": "reasoning",
        "id": "r",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "abcd"}],
    }
    parsed = parse(
        [message("x", role="user") | {"content": "ab"}, said, thought, CALL, output() | {"output": "abcde"}]
    )
    assert parsed.text_bytes == 2 + 3 + 4 + 2 + 5


def test_items_may_come_back_as_the_engine_told_them_with_all_fields_that_are_not_set() -> None:
    call = {**CALL, "id": "fc_1", "status": "completed", "async": None, "caller": None, "namespace": None}
    image = {**IMAGE, "file_id": None}
    body = parse([call, output(image, id=None), message(TEXT, phase=None)]).body
    assert body["input"] == [{**CALL, "id": "fc_1", "status": "completed"}, output(IMAGE), message(TEXT)]


def test_what_the_assistant_said_is_one_text_for_the_engine() -> None:
    refusal = {"type": "refusal", "refusal": "No."}
    said = {"type": "output_text", "text": "Well. ", "annotations": []}
    plain = {"role": "assistant", "content": "No.", "id": "msg_1"}
    body = parse([message(said, refusal, role="assistant"), message(refusal, role="assistant"), plain]).body
    one = {"type": "output_text", "annotations": []}
    assert [item["content"] for item in body["input"]] == [
        [{**one, "text": "Well. No."}],
        [{**one, "text": "No."}],
        [{**one, "text": "No."}],
    ]
    assert body["input"][2] == {**plain, "type": "message", "content": [{**one, "text": "No."}]}


def test_nothing_is_ever_stored_by_the_engine() -> None:
    for stored in ({}, {"store": True}, {"store": False}, {"store": None}):
        assert parse("hi", **stored).body["store"] is False


def test_what_the_gateway_does_not_read_passes_untouched() -> None:
    body = body_of(
        [message(TEXT, type="message", status="completed"), CALL, output(TEXT)],
        tools=[{"type": "function", "name": "f", "parameters": {}}, {"type": "custom", "name": "g"}],
        tool_choice={"type": "function", "name": "f"},
        text={"format": {"type": "json_object"}},
        metadata={"a": "b"},
        store=False,
    )
    assert parse_request("responses", orjson.dumps(body)).body == body


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("previous_response_id", "resp_1", "earlier items in 'input'"),
        ("conversation", "conv_1", "earlier items in 'input'"),
        ("conversation", {"id": "conv_1"}, "earlier items in 'input'"),
        ("background", True, "'stream'"),
        ("prompt", {"id": "pmpt_1"}, "'instructions'"),
    ],
)
def test_what_would_have_to_be_kept_is_refused_with_what_to_do_instead(field: str, value: Any, says: str) -> None:
    error = fault("hi", **{field: value})
    assert isinstance(error, FieldRefused)
    assert error.param == field
    assert says in error.message


def test_fields_that_ask_for_nothing_are_taken_out() -> None:
    nothing = {"previous_response_id": None, "conversation": None, "background": False, "prompt": None}
    assert parse("hi", **nothing).body == body_of("hi", store=False)


@pytest.mark.parametrize(
    "field",
    "request_id session_id priority cache_salt media_io_kwargs mm_processor_kwargs mm_payload return_mm_kwargs"
    " previous_input_messages enable_response_messages vllm_xargs kv_transfer_params ec_transfer_params"
    " watermarking uuid messages context_management".split(),
)
def test_fields_that_reach_into_the_engine_are_refused_by_name(field: str) -> None:
    error = fault("hi", **{field: "x"})
    assert (error.code, error.param) == ("field_not_allowed", field)


@pytest.mark.parametrize(
    "kind",
    "mcp web_search web_search_preview file_search code_interpreter computer_use_preview image_generation"
    " local_shell shell apply_patch namespace container".split(),
)
def test_tools_that_somebody_else_would_run_are_refused(kind: str) -> None:
    tool = {"type": kind, "server_label": "x", "server_url": "http://127.0.0.1/"}
    for error, param in (
        (fault("hi", tools=[{"type": "function", "name": "f"}, tool]), "tools[1].type"),
        (fault("hi", tool_choice={"type": kind}), "tool_choice.type"),
        (
            fault("hi", tool_choice={"type": "allowed_tools", "mode": "auto", "tools": [tool]}),
            "tool_choice.tools[0].type",
        ),
    ):
        assert isinstance(error, FieldRefused)
        assert error.param == param
        assert "'function'" in error.message


@pytest.mark.parametrize(
    "item",
    [{"type": "item_reference", "id": "msg_1"}, {"id": "msg_1"}, {"type": None, "id": "msg_1"}],
)
def test_references_to_items_are_refused(item: dict[str, Any]) -> None:
    error = fault([message(TEXT), item])
    assert isinstance(error, FieldRefused)
    assert error.param == "input[1]"
    assert "item itself" in error.message


@pytest.mark.parametrize(
    "kind",
    ["mcp_call", "mcp_list_tools", "web_search_call", "computer_call_output", "image_generation_call", "xyz"],
)
def test_items_of_tools_that_are_not_run_here_are_refused(kind: str) -> None:
    assert fault([{"type": kind, "id": "x", "output": {"image_url": URL}}]).param == "input[0].type"


@pytest.mark.parametrize(
    ("item", "param"),
    [
        (message({**IMAGE, "uuid": "mine"}), "input[0].content[0].uuid"),
        (message(IMAGE, uuid="mine"), "input[0].uuid"),
        (message({**TEXT, "image_url": URL}), "input[0].content[0].image_url"),
        (message({**TEXT, "uuid": "mine"}), "input[0].content[0].uuid"),
        (output({**IMAGE, "uuid": "mine"}), "input[0].output[0].uuid"),
        (output(IMAGE, uuid="mine"), "input[0].uuid"),
        ({**CALL, "uuid": "mine"}, "input[0].uuid"),
        ({"type": "reasoning", "id": "r", "summary": [], "uuid": "mine"}, "input[0].uuid"),
    ],
)
def test_a_caller_cannot_choose_an_images_identity(item: dict[str, Any], param: str) -> None:
    error = fault([item])
    assert (error.code, error.param) == ("field_not_allowed", param)


@pytest.mark.parametrize(
    ("given", "param"),
    [
        (None, "input"),
        ("", "input"),
        ([], "input"),
        ({}, "input"),
        ([3], "input[0]"),
        ([{}], "input[0].type"),
        ([{"type": 3}], "input[0].type"),
        ([message(TEXT, role="tool")], "input[0].role"),
        ([{"type": "message", "content": "x"}], "input[0].role"),
        ([message()], "input[0].content"),
        ([message("text")], "input[0].content[0].type"),
        ([message({"type": "input_text"})], "input[0].content[0].text"),
        ([message({"type": "image_url", "image_url": {"url": URL}})], "input[0].content[0].type"),
        ([message({"type": "input_file", "file_url": "http://127.0.0.1/"})], "input[0].content[0].type"),
        ([message({"type": "input_audio", "input_audio": {}})], "input[0].content[0].type"),
        ([message({"type": ["input_text"]})], "input[0].content[0].type"),
        ([message(IMAGE, role="assistant")], "input[0].content[0].type"),
        ([message({**IMAGE, "image_url": {"url": URL}})], "input[0].content[0].image_url"),
        ([message({**IMAGE, "image_url": None})], "input[0].content[0]"),
        ([message({**IMAGE, "file_id": "file-1"})], "input[0].content[0]"),
        ([message({"type": "input_image", "file_id": "https://a.example/"})], "input[0].content[0].file_id"),
        ([message({**IMAGE, "detail": "ultra"})], "input[0].content[0].detail"),
        ([output() | {"output": None}], "input[0].output"),
        ([output(TEXT) | {"call_id": None}], "input[0].call_id"),
        ([output({"type": "input_file", "file_id": "file-1"})], "input[0].output[0].type"),
        ([{**CALL, "arguments": {}}], "input[0].arguments"),
        ([{"type": "function_call", "call_id": "c1", "arguments": "{}"}], "input[0].name"),
        ([{"type": "reasoning", "summary": [], "content": [IMAGE]}], "input[0].content[0].type"),
        ([{"type": "reasoning", "summary": 3}], "input[0].summary"),
    ],
)
def test_a_wrong_input_is_named_by_its_path(given: Any, param: str) -> None:
    assert fault(given).param == param


@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("store", "yes", "store"),
        ("instructions", [], "instructions"),
        ("tools", {}, "tools"),
        ("tools", ["f"], "tools[0]"),
        ("tools", [{"name": "f"}], "tools[0]"),
        ("tool_choice", 3, "tool_choice"),
        ("max_output_tokens", 0, "max_output_tokens"),
        ("max_tokens", 3, "max_tokens"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: Any, param: str) -> None:
    assert fault("hi", **{field: value}).param == param
