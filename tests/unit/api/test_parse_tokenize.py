from typing import Any

import orjson
import pytest

from server.api.parse import parse_request
from server.errors import ContextTooLong, GatewayError
from tests.pictures import image_part, text_part


def parse(**body: Any) -> Any:
    return parse_request("tokenize", orjson.dumps({"model": "demo", **body}))


def test_a_conversation_gives_its_images_as_in_chat() -> None:
    parsed = parse(messages=[{"role": "user", "content": [text_part("ab"), image_part()]}], return_token_strs=True)
    assert [image.path for image in parsed.images] == ["messages[0].content[1].image_url"]
    assert (parsed.text_bytes, parsed.max_tokens, parsed.stream) == (2, None, False)


def test_a_prompt_is_measured() -> None:
    assert parse(prompt="abcd").text_bytes == 4


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": "a", "messages": []}, "prompt"),
        ({"prompt": ["a"]}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"messages": None}, "messages"),
        ({"prompt": "a", "chat_template": "x"}, "chat_template"),
        ({"prompt": "a", "mm_processor_kwargs": {}}, "mm_processor_kwargs"),
        ({"prompt": "a", "stream": True}, "stream"),
    ],
)
def test_a_wrong_field_is_named(body: dict[str, Any], param: str) -> None:
    with pytest.raises(GatewayError) as caught:
        parse(**body)
    assert caught.value.param == param


def test_there_is_a_most_that_is_made_into_tokens() -> None:
    assert parse(prompt="a" * 4 * 1024**2).text_bytes == 4 * 1024**2
    with pytest.raises(ContextTooLong):
        parse(prompt="a" * (4 * 1024**2 + 1))
    with pytest.raises(ContextTooLong):
        parse(messages=[{"role": "user", "content": "a" * 3 * 1024**2}] * 2)


def detokenize(tokens: Any) -> Any:
    return parse_request("detokenize", orjson.dumps({"model": "demo", "tokens": tokens}))


def test_tokens_are_measured() -> None:
    assert detokenize([0, 5, 2**31 - 1]).text_bytes == 12
    assert detokenize([]).text_bytes == 0


@pytest.mark.parametrize("tokens", [None, "a", [1.5], [True], [-1], [2**31], [[1]], {"a": 1}])
def test_tokens_are_whole_numbers(tokens: Any) -> None:
    with pytest.raises(GatewayError) as caught:
        detokenize(tokens)
    assert caught.value.param == "tokens"


def test_there_is_a_most_that_is_made_into_text() -> None:
    assert detokenize([1] * 1024**2).text_bytes == 4 * 1024**2
    with pytest.raises(ContextTooLong):
        detokenize([1] * (1024**2 + 1))
