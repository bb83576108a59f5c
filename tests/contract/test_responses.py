"""/v1/responses, whichever engine is behind it."""

import json
from typing import Any

import pytest

from tests.contract.conftest import Target
from tests.contract.test_surface import error_of
from tests.pictures import data_url, picture

RESPONSES = "/v1/responses"
TEXT = {"type": "input_text", "text": "What is in this picture?"}
CALL = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}


def image(data: bytes | None = None, **fields: Any) -> dict[str, Any]:
    url = data_url(picture() if data is None else data)
    return {"type": "input_image", "image_url": url, **fields}


def user(*content: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def ask(target: Target, given: Any, **fields: Any) -> Any:
    body = {"model": target.model, "input": given, "max_output_tokens": 8, "temperature": 0, **fields}
    return target.http.post(RESPONSES, json=body)


def events(response: Any) -> list[dict[str, Any]]:
    """The events of a stream, each of which names its type and counts from 0."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    told = []
    for number, event in enumerate(response.text.removesuffix("\n\n").split("\n\n")):
        name, data = event.split("\n")
        told.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {told[-1]['type']}"
        assert told[-1]["sequence_number"] == number
    return told


def text_of(response: dict[str, Any]) -> str:
    return "".join(part["text"] for item in response["output"] for part in item.get("content") or [])


@pytest.mark.parametrize("detail", [{}, {"detail": "low"}, {"detail": "original"}])
def test_a_picture_and_a_question_are_answered_with_usage(target: Target, detail: dict[str, str]) -> None:
    response = ask(target, [user(image(**detail), TEXT)])
    assert response.status_code == 200, response.text
    body = response.json()
    assert (body["object"], body["model"]) == ("response", target.model)
    assert body["status"] in ("completed", "incomplete")
    assert text_of(body)
    assert body["usage"]["total_tokens"] == body["usage"]["input_tokens"] + body["usage"]["output_tokens"]
    assert body["background"] is False
    assert body["previous_response_id"] is None


def test_an_input_may_be_a_string_and_come_with_instructions(target: Target) -> None:
    assert text_of(ask(target, "What is this?", instructions="Be short.").json())


def test_a_stream_is_numbered_events_that_end_with_the_response(target: Target) -> None:
    told = events(ask(target, [user(image(), TEXT)], stream=True))
    assert told[0]["type"] == "response.created"
    assert told[-1]["type"] == "response.completed"
    deltas = [event["delta"] for event in told if event["type"] == "response.output_text.delta"]
    assert "".join(deltas) == text_of(told[-1]["response"]) != ""
    assert told[-1]["response"]["usage"]["output_tokens"] > 0


@pytest.mark.parametrize(
    "earlier",
    [
        [{"role": "assistant", "content": "A circle."}],
        [{"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": "A circle."}],
        [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "A circle."}]}],
        [{"role": "assistant", "content": [{"type": "output_text", "text": "A circle."}]}],
        [{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}],
        [{"role": "system", "content": "Be short."}, {"role": "developer", "content": [TEXT]}],
        [CALL, {"type": "function_call_output", "call_id": "c1", "output": "red"}],
        [CALL, {"type": "function_call_output", "call_id": "c1", "output": [TEXT]}],
        [{"type": "reasoning", "id": "r", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}],
    ],
)
def test_earlier_items_are_taken(target: Target, earlier: list[dict[str, Any]]) -> None:
    response = ask(target, [user(image(), TEXT), *earlier, user(TEXT)])
    assert response.status_code == 200, response.text


def test_what_a_tool_gave_may_hold_a_picture(target: Target) -> None:
    given = {"type": "function_call_output", "call_id": "c1", "output": [TEXT, image()]}
    response = ask(target, [user(TEXT), CALL, given, user(TEXT)])
    assert response.status_code == 200, response.text


def test_an_answer_says_that_it_is_not_stored(target: Target) -> None:
    assert not ask(target, "hi", store=True).json().get("store")


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [(picture("PNG")[:60], 400, "invalid_image"), (b"<svg/>", 415, "unsupported_image_format")],
)
def test_a_picture_that_cannot_be_used_is_named_by_its_path(
    target: Target, data: bytes, status: int, code: str
) -> None:
    error = error_of(ask(target, [user(TEXT, image(data))]), status)
    assert (error["code"], error["param"]) == (code, "input[0].content[1].image_url")


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/a.png", "https://[::1]/", "file:///etc/passwd", "http://a.example/"]
)
def test_urls_that_lead_inside_are_refused(target: Target, url: str) -> None:
    error = error_of(ask(target, [user({"type": "input_image", "image_url": url})]), 400)
    assert (error["code"], error["param"]) == ("image_url_refused", "input[0].content[0].image_url")


def test_an_images_uuid_is_refused(target: Target) -> None:
    assert error_of(ask(target, [user(image(uuid="mine"))]), 400)["param"] == "input[0].content[0].uuid"


@pytest.mark.parametrize(
    "fields",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"background": True},
        {"prompt": {"id": "pmpt_1"}},
        {"tools": [{"type": "mcp", "server_label": "x", "server_url": "http://127.0.0.1/"}]},
        {"tools": [{"type": "web_search_preview"}]},
        {"request_id": "resp_1"},
        {"cache_salt": "x"},
    ],
)
def test_what_is_kept_or_run_elsewhere_is_refused(target: Target, fields: dict[str, Any]) -> None:
    error = error_of(ask(target, "hi", **fields), 400)
    assert error["code"] == "field_not_allowed"
    assert error["param"].startswith(next(iter(fields)))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "resp_1"),
        ("DELETE", "resp_1"),
        ("POST", "resp_1/cancel"),
        ("GET", "resp_1/input_items"),
        ("POST", "input_tokens"),
    ],
)
def test_no_response_is_there_afterwards(target: Target, method: str, path: str) -> None:
    error = error_of(target.http.request(method, f"{RESPONSES}/{path}"), 404)
    assert error["code"] == "not_found"
    assert "not kept" in error["message"]


def test_more_tokens_than_the_context_holds_are_refused(target: Target) -> None:
    assert error_of(ask(target, "hi", max_output_tokens=100_000), 400)["code"] == "context_length_exceeded"


def test_an_unknown_model_is_not_found(target: Target) -> None:
    assert error_of(ask(target, "hi", model="gpt-none"), 404)["code"] == "model_not_found"
