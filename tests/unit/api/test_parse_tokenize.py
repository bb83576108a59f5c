from typing import Any

import orjson
import pytest

from server.api.parse import parse_request
from server.errors import GatewayError
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
