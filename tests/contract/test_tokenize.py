"""/tokenize, whichever engine is behind it."""

from typing import Any

import pytest

from tests.contract.conftest import Target
from tests.contract.test_surface import error_of
from tests.pictures import image_part, picture, text_part

TOKENIZE = "/tokenize"


def ask(target: Target, *parts: dict[str, Any], **fields: Any) -> Any:
    messages = [{"role": "user", "content": list(parts)}]
    return target.http.post(TOKENIZE, json={"model": target.model, "messages": messages, **fields})


def test_a_prompt_becomes_tokens(target: Target) -> None:
    response = target.http.post(TOKENIZE, json={"model": target.model, "prompt": "red", "return_token_strs": True})
    body = response.json()
    assert response.status_code == 200, response.text
    assert body["count"] == len(body["tokens"]) == len(body["token_strs"]) > 0
    assert body["max_model_len"] == 4096


def test_a_conversation_with_a_picture_becomes_tokens(target: Target) -> None:
    response = ask(target, image_part(), text_part("What is this?"))
    assert response.status_code == 200, response.text
    assert response.json()["count"] == len(response.json()["tokens"]) > 0
    assert response.json()["token_strs"] is None


def test_tokens_become_text_again(target: Target) -> None:
    tokens = target.http.post(TOKENIZE, json={"model": target.model, "prompt": "red"}).json()["tokens"]
    response = target.http.post("/detokenize", json={"model": target.model, "tokens": tokens})
    assert response.status_code == 200, response.text
    assert isinstance(response.json()["prompt"], str)


def test_tokens_that_the_model_does_not_have_harm_nobody(target: Target) -> None:
    response = target.http.post("/detokenize", json={"model": target.model, "tokens": [2**31 - 1]})
    assert response.status_code in (200, 400)
    assert target.http.get("/health/ready").status_code == 200


def test_a_picture_is_checked_as_in_a_chat(target: Target) -> None:
    error = error_of(ask(target, text_part("a"), image_part(picture()[:60])), 400)
    assert (error["code"], error["param"]) == ("invalid_image", "messages[0].content[1].image_url")


@pytest.mark.parametrize("field", ["chat_template", "mm_processor_kwargs", "media_io_kwargs", "uuid"])
def test_fields_of_the_engines_inside_are_refused(target: Target, field: str) -> None:
    error = error_of(ask(target, text_part("a"), **{field: "x"}), 400)
    assert (error["code"], error["param"]) == ("field_not_allowed", field)


def test_an_image_uuid_is_refused(target: Target) -> None:
    assert error_of(ask(target, {**image_part(), "uuid": "mine"}), 400)["param"] == "messages[0].content[0].uuid"


def test_a_url_that_leads_inside_is_refused(target: Target) -> None:
    part = {"type": "image_url", "image_url": {"url": "https://169.254.169.254/x"}}
    assert error_of(ask(target, part), 400)["code"] == "image_url_refused"


def test_an_unknown_model_is_not_found(target: Target) -> None:
    assert error_of(ask(target, text_part("a"), model="gpt-none"), 404)["code"] == "model_not_found"
