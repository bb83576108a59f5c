"""/v1/messages: what callers of Anthropic's API may rely on, whichever engine is behind it."""

import base64
from typing import Any

import orjson
import pytest

from quantize.evaluate.suite import item
from tests.contract.conftest import Target
from tests.pictures import picture
from tests.unit.api.messages.chunks import blocks, told, types

MESSAGES = "/v1/messages"
COUNT = {
    "type": "object",
    "properties": {"count": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["count"],
    "additionalProperties": False,
}
# Strict: vLLM holds a call to its schema only then, and the bundled model knows no tools.
TOOL = {"name": "report", "description": "Report.", "input_schema": COUNT, "strict": True}


def image_block(data: bytes | None = None, media_type: str = "image/png") -> dict[str, Any]:
    encoded = base64.b64encode(picture() if data is None else data).decode()
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": encoded}}


def text_block(text: str = "What is in this picture?") -> dict[str, Any]:
    return {"type": "text", "text": text}


def message(*blocks: dict[str, Any], model: str = "demo", **fields: Any) -> dict[str, Any]:
    turn = {"role": "user", "content": list(blocks) or [text_block()]}
    return {"model": model, "max_tokens": 16, "temperature": 0, "messages": [turn], **fields}


def ask(target: Target, *blocks: dict[str, Any], **fields: Any) -> Any:
    return target.http.post(MESSAGES, json=message(*blocks, **{"model": target.model, **fields}))


def error_of(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    body = response.json()
    assert body.keys() == {"type", "error", "request_id"}
    assert (body["type"], body["request_id"]) == ("error", response.headers["request-id"])
    error: dict[str, Any] = body["error"]
    assert error.keys() == {"type", "message", "code", "param"}
    return error


def test_a_message_with_a_picture_is_answered_with_usage(target: Target) -> None:
    response = ask(target, image_block(), text_block())
    body = response.json()
    assert response.status_code == 200, response.text
    assert (body["type"], body["role"], body["model"]) == ("message", "assistant", target.model)
    assert [block["type"] for block in body["content"]] == ["text"]
    assert body["stop_reason"] in ("end_turn", "max_tokens")
    assert body["usage"]["input_tokens"] > 10
    assert body["usage"]["output_tokens"] > 0
    assert response.headers["x-fovea-engine"] == "engine-0"


def test_a_stream_says_the_same_as_a_whole_answer(target: Target) -> None:
    whole = ask(target, image_block(), text_block()).json()
    response = ask(target, image_block(), text_block(), stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    events = told(response.content)
    assert types(events) == ["message_start", "start", "delta", "stop", "message_delta", "message_stop"]
    assert events[0]["message"]["usage"]["input_tokens"] == whole["usage"]["input_tokens"]
    assert [block["said"] for block in blocks(events)] == [whole["content"][0]["text"]]
    assert events[-2]["usage"] == whole["usage"]
    assert events[-2]["delta"]["stop_reason"] == whole["stop_reason"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_named_tool_is_called(target: Target, stream: bool) -> None:
    choice = {"type": "tool", "name": "report"}
    scene = base64.b64decode(item("count", "easy", 0).data_url.partition(",")[2])
    asked = (image_block(scene), text_block("Count the objects. Answer in JSON."))
    response = ask(target, *asked, tools=[TOOL], tool_choice=choice, max_tokens=96, stream=stream)
    assert response.status_code == 200, response.text
    if stream:
        events = told(response.content)
        call, stop = blocks(events)[-1], events[-2]["delta"]["stop_reason"]
        given = orjson.loads(call["said"])
    else:
        call, stop = response.json()["content"][-1], response.json()["stop_reason"]
        given = call["input"]
    assert (call["type"], call["name"], stop) == ("tool_use", "report", "tool_use")
    assert call["id"]
    assert isinstance(given["count"], int)


def test_a_picture_may_come_back_from_a_tool(target: Target) -> None:
    use = {"type": "tool_use", "id": "call-1", "name": "report", "input": {"count": 3}}
    result = {"type": "tool_result", "tool_use_id": "call-1", "content": [text_block("Here:"), image_block()]}
    turns = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result, text_block()]},
    ]
    response = ask(target, messages=turns, tools=[TOOL], tool_choice={"type": "none"})
    assert response.status_code == 200, response.text


def test_tokens_are_counted(target: Target) -> None:
    body = message(image_block(), text_block(), model=target.model, system="Be short.", tools=[TOOL])
    asked = {field: body[field] for field in ("model", "messages", "system", "tools")}
    response = target.http.post(f"{MESSAGES}/count_tokens", json=asked)
    assert response.status_code == 200, response.text
    assert response.json().keys() == {"input_tokens"}
    assert response.json()["input_tokens"] > 0
    refused = target.http.post(f"{MESSAGES}/count_tokens", json={**asked, "stream": True})
    assert error_of(refused, 400)["param"] == "stream"


def test_a_picture_may_lie_about_its_type(target: Target) -> None:
    assert ask(target, image_block(picture("JPEG"), "image/gif")).status_code == 200


@pytest.mark.parametrize(
    ("data", "status", "kind", "code"),
    [
        (picture("PNG")[:60], 400, "invalid_request_error", "invalid_image"),
        (b"%PDF-1.7", 415, "invalid_request_error", "unsupported_image_format"),
    ],
)
def test_a_picture_that_cannot_be_used_is_named_by_its_path(
    target: Target, data: bytes, status: int, kind: str, code: str
) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "user", "content": [text_block(), image_block(data)]}]
    error = error_of(ask(target, messages=turns, system="Be short."), status)
    assert (error["type"], error["code"], error["param"]) == (kind, code, "messages[1].content[1].source")


@pytest.mark.parametrize("url", ["https://127.0.0.1/a.png", "file:///etc/passwd", "http://169.254.169.254/"])
def test_urls_that_lead_inside_are_refused(target: Target, url: str) -> None:
    error = error_of(ask(target, {"type": "image", "source": {"type": "url", "url": url}}), 400)
    assert (error["code"], error["param"]) == ("image_url_refused", "messages[0].content[0].source")


@pytest.mark.parametrize("field", ["cache_salt", "kv_transfer_params", "vllm_xargs", "chat_template_kwargs"])
def test_fields_of_the_engines_inside_are_refused(target: Target, field: str) -> None:
    error = error_of(ask(target, **{field: {}}), 400)
    assert (error["code"], error["param"]) == ("field_not_allowed", field)


@pytest.mark.parametrize(
    ("fields", "status", "kind", "param"),
    [
        ({"max_tokens": None}, 400, "invalid_request_error", "max_tokens"),
        ({"model": "none"}, 404, "not_found_error", "model"),
        ({"max_tokens": 100_000}, 400, "invalid_request_error", None),
        ({"system": "x" * 5 * 1024**2}, 413, "request_too_large", None),
    ],
)
def test_errors_are_told_in_anthropics_words(
    target: Target, fields: dict[str, Any], status: int, kind: str, param: str | None
) -> None:
    error = error_of(ask(target, **fields), status)
    assert (error["type"], error["param"]) == (kind, param)


def test_bad_json_other_methods_and_other_paths_too(target: Target) -> None:
    headers = {"content-type": "application/json"}
    assert error_of(target.http.post(MESSAGES, content=b"{", headers=headers), 400)["code"] == "invalid_json"
    assert error_of(target.http.get(MESSAGES), 405)["code"] == "method_not_allowed"
    assert error_of(target.http.post(f"{MESSAGES}/batches", json={}), 404)["type"] == "not_found_error"


def test_messages_have_a_label_of_their_own_in_metrics(target: Target) -> None:
    ask(target)
    metrics = target.http.get("/metrics").text
    assert (
        f'fovea_requests_total{{code="",model="{target.model}",route="messages",status="200",tenant="-"}}'
        in metrics
    )
