from typing import Any

import orjson
import pytest

from server.api.parse import parse_request
from server.errors import CallerError, FieldRefused, GatewayError, MalformedBody
from tests.pictures import chat, data_url, image_part, picture, text_part


def parse(body: Any) -> Any:
    return parse_request("chat", orjson.dumps(body))


def fault(body: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        parse(body)
    return caught.value


def test_a_chat_gives_its_images_in_order_with_their_paths() -> None:
    parsed = parse(chat(text_part("first"), image_part(picture("PNG")), image_part(picture("JPEG"))))
    assert [image.path for image in parsed.images] == [
        "messages[0].content[1].image_url",
        "messages[0].content[2].image_url",
    ]
    assert parsed.images[0].url == data_url(picture("PNG"))
    assert parsed.text_bytes == len("first")


def test_an_image_url_may_be_a_plain_string() -> None:
    parsed = parse(chat({"type": "image_url", "image_url": "https://example.com/a.png"}))
    assert parsed.images[0].url == "https://example.com/a.png"


def test_fields_that_the_gateway_does_not_read_pass_untouched() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    body = chat(tools=tools, response_format={"type": "json_object"}, logprobs=True, seed=7, top_k=3)
    assert parse(body).body == body


@pytest.mark.parametrize(
    "field",
    [
        "uuid",
        "image_embeds",
        "prompt_embeds",
        "kv_transfer_params",
        "ec_transfer_params",
        "cache_salt",
        "mm_processor_kwargs",
        "media_io_kwargs",
        "vllm_xargs",
        "chat_template",
        "priority",
        "request_id",
        "no_such_field",
    ],
)
def test_fields_that_reach_into_the_engine_are_refused_by_name(field: str) -> None:
    error = fault(chat(**{field: "x"}))
    assert isinstance(error, FieldRefused)
    assert (error.code, error.param) == ("field_not_allowed", field)


@pytest.mark.parametrize(
    ("extra", "path"),
    [({"uuid": "mine"}, "messages[0].content[0].uuid"), ({"cache": 1}, "messages[0].content[0].cache")],
)
def test_a_caller_cannot_choose_an_images_identity(extra: dict[str, Any], path: str) -> None:
    assert fault(chat({**image_part(), **extra})).param == path


def test_fields_inside_image_url_are_an_allowlist_too() -> None:
    part = {"type": "image_url", "image_url": {"url": "https://a.example/x", "uuid": "mine"}}
    assert fault(chat(part)).param == "messages[0].content[0].image_url.uuid"


@pytest.mark.parametrize("kind", ["image_embeds", "video_embeds", "input_audio", "image_pil", 7, None])
def test_parts_of_other_types_are_refused(kind: object) -> None:
    assert (
        fault(chat({"type": kind, kind if isinstance(kind, str) else "x": "y"})).param
        == "messages[0].content[0].type"
    )


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'"text"', b"\xff", b"[" * 100_000])
def test_bodies_that_are_not_json_objects_are_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedBody):
        parse_request("chat", raw)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [3]}, "messages[0]"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [5]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].image_url"),
        ({"model": ""}, "model"),
        ({"model": 3}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(change: dict[str, Any], param: str) -> None:
    error = fault(chat(**change) if "messages" not in change else {"model": "demo", **change})
    assert isinstance(error, CallerError)
    assert error.param == param


def test_an_unknown_detail_is_refused() -> None:
    part = image_part()
    part["image_url"]["detail"] = "ultra"
    assert fault(chat(part)).param == "messages[0].content[0].image_url.detail"


def test_max_completion_tokens_wins_over_max_tokens() -> None:
    assert parse(chat(max_completion_tokens=3)).max_tokens == 3


@pytest.mark.parametrize("prompt", ["text", ["a", "b"], [1, 2, 3]])
def test_completions_take_text_and_tokens(prompt: Any) -> None:
    parsed = parse_request("completions", orjson.dumps({"model": "demo", "prompt": prompt}))
    assert parsed.text_bytes > 0
    assert parsed.images == ()


@pytest.mark.parametrize("prompt", [None, [], 3, {}])
def test_completions_need_a_prompt(prompt: Any) -> None:
    with pytest.raises(CallerError, match="prompt"):
        parse_request("completions", orjson.dumps({"model": "demo", "prompt": prompt}))


def test_a_batch_is_counted_by_its_prompts_and_answers() -> None:
    def counted(**fields: Any) -> tuple[int, int]:
        request = parse_request("completions", orjson.dumps({"model": "demo", **fields}))
        return request.prompts, request.answers

    assert counted(prompt="a") == counted(prompt=[1, 2, 3]) == (1, 1)
    assert counted(prompt=["a", "b"], n=3) == (2, 6)
    assert counted(prompt=[[1], [2], [3]]) == (3, 3)
    chat_of_four = parse_request("chat", orjson.dumps({**chat(text_part("a")), "n": 4}))
    assert (chat_of_four.prompts, chat_of_four.answers) == (1, 4)


def test_what_templates_write_besides_texts_is_measured() -> None:
    plain = chat(text_part("a"))
    assert parse_request("chat", orjson.dumps(plain)).extra_bytes == 0
    tools = [{"type": "function", "function": {"name": "f", "description": "word " * 1000}}]
    assert parse_request("chat", orjson.dumps({**plain, "tools": tools})).extra_bytes > 5000
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "x" * 3000}}
    plain["messages"].append({"role": "assistant", "content": None, "tool_calls": [call]})
    assert parse_request("chat", orjson.dumps(plain)).extra_bytes > 3000
