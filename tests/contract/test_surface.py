"""What callers of the gateway may rely on, whichever engine is behind it."""

import json
from typing import Any

import pytest

from tests.contract.conftest import Target
from tests.pictures import chat, data_url, image_part, picture, png_claiming, text_part

CHAT = "/v1/chat/completions"
JSON = {"content-type": "application/json"}


def ask(target: Target, *parts: dict[str, Any], **fields: Any) -> Any:
    return target.http.post(CHAT, json=chat(*parts, **{"model": target.model, **fields}))


def error_of(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"]
    return error


def events(response: Any) -> list[dict[str, Any]]:
    lines = [line for line in response.text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def test_a_chat_with_a_picture_is_answered_with_usage(target: Target) -> None:
    response = ask(target, image_part(), text_part("What is in this picture?"))
    body = response.json()
    assert response.status_code == 200
    assert body["object"] == "chat.completion"
    assert body["model"] == target.model
    assert isinstance(body["choices"][0]["message"]["content"], str)
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]


def test_answers_name_their_engine_and_request(target: Target) -> None:
    response = ask(target)
    assert response.headers["x-fovea-engine"] == "engine-0"
    assert response.headers["x-request-id"].startswith("req-")
    assert "server" not in response.headers


def test_a_stream_is_server_sent_events_that_end_with_done(target: Target) -> None:
    response = ask(
        target, image_part(), text_part("How many?"), stream=True, stream_options={"include_usage": True}
    )
    assert response.headers["content-type"].startswith("text/event-stream")
    chunks = events(response)
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    assert chunks[-1]["usage"]["completion_tokens"] > 0
    assert [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]][-1] in ("stop", "length")


def test_completions_work_too(target: Target) -> None:
    response = target.http.post("/v1/completions", json={"model": target.model, "prompt": "a", "max_tokens": 1})
    assert response.status_code == 200
    assert response.json()["object"] == "text_completion"


def test_several_pictures_in_one_message_are_taken(target: Target) -> None:
    assert ask(target, image_part(), image_part(picture("JPEG")), image_part(picture("WEBP"))).status_code == 200


def test_models_are_listed_and_told_one_by_one(target: Target) -> None:
    listed = target.http.get("/v1/models").json()
    assert [card["id"] for card in listed["data"]] == [target.model]
    assert target.http.get(f"/v1/models/{target.model}").json() == listed["data"][0]
    assert listed["data"][0]["max_model_len"] == 4096
    assert error_of(target.http.get("/v1/models/none"), 404)["code"] == "model_not_found"


def test_health_and_metrics_answer(target: Target) -> None:
    ask(target, image_part())
    assert target.http.get("/health/live").status_code == 200
    assert target.http.get("/health/ready").status_code == 200
    metrics = target.http.get("/metrics").text
    assert f'fovea_requests_total{{code="",model="{target.model}",route="chat",status="200",tenant="-"}}' in metrics
    assert 'fovea_engine_ready{engine="engine-0"} 1.0' in metrics


@pytest.mark.parametrize(
    ("raw", "code"), [(b"{", "invalid_json"), (b"[]", "invalid_json"), (b'{"model":"\xff"}', "invalid_json")]
)
def test_bad_json_is_said_to_be(target: Target, raw: bytes, code: str) -> None:
    assert error_of(target.http.post(CHAT, content=raw, headers=JSON), 400)["code"] == code


def test_an_unknown_model_is_not_found(target: Target) -> None:
    error = error_of(ask(target, model="gpt-none"), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")


def test_no_messages_are_a_callers_error(target: Target) -> None:
    body = {"model": target.model, "messages": []}
    assert error_of(target.http.post(CHAT, json=body), 400)["param"] == "messages"


def test_an_oversized_body_is_refused(target: Target) -> None:
    error = error_of(ask(target, text_part("x" * 5 * 1024**2)), 413)
    assert error["code"] == "body_too_large"


def test_an_oversized_body_without_a_length_is_refused_while_it_arrives(target: Target) -> None:
    chunks = (b"x" * 65536 for _ in range(100))
    assert error_of(target.http.post(CHAT, content=chunks, headers=JSON), 413)["code"] == "body_too_large"


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (picture("PNG")[:60], 400, "invalid_image"),
        (png_claiming(60_000, 60_000), 413, "image_too_large"),
        (picture("BMP"), 415, "unsupported_image_format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "unsupported_image_format"),
    ],
)
def test_a_picture_that_cannot_be_used_is_named_by_its_path(
    target: Target, data: bytes, status: int, code: str
) -> None:
    error = error_of(ask(target, text_part("What is this?"), image_part(data)), status)
    assert (error["code"], error["param"]) == (code, "messages[0].content[1].image_url")


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/a.png",
        "https://localhost/a.png",
        "https://2130706433/a.png",
        "https://[::1]/a.png",
        "https://169.254.169.254/latest/meta-data",
        "http://example.com/a.png",
        "file:///etc/passwd",
        "https://user:password@example.com/a.png",
        "https:///a.png",
    ],
)
def test_urls_that_lead_inside_are_refused(target: Target, url: str) -> None:
    error = error_of(ask(target, {"type": "image_url", "image_url": {"url": url}}), 400)
    assert (error["code"], error["param"]) == ("image_url_refused", "messages[0].content[0].image_url")


@pytest.mark.parametrize("field", ["cache_salt", "mm_processor_kwargs", "kv_transfer_params", "chat_template"])
def test_fields_of_the_engines_inside_are_refused(target: Target, field: str) -> None:
    error = error_of(ask(target, **{field: {}}), 400)
    assert (error["code"], error["param"]) == ("field_not_allowed", field)


def test_an_image_uuid_is_refused(target: Target) -> None:
    error = error_of(ask(target, {**image_part(), "uuid": "mine"}), 400)
    assert error["param"] == "messages[0].content[0].uuid"


def test_more_tokens_than_the_context_holds_are_refused(target: Target) -> None:
    assert error_of(ask(target, max_tokens=100_000), 400)["code"] == "context_length_exceeded"


def test_a_data_url_may_lie_about_its_type(target: Target) -> None:
    part = {"type": "image_url", "image_url": {"url": data_url(picture("JPEG"), "image/png")}}
    assert ask(target, part).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs", "/invocations", "/pooling", "/v1/embeddings", "/version", "/ping"])
def test_nothing_else_of_vllm_is_reachable(target: Target, path: str) -> None:
    assert error_of(target.http.post(path, json={}), 404)["code"] == "not_found"


def test_other_methods_are_not_allowed(target: Target) -> None:
    assert error_of(target.http.get(CHAT), 405)["code"] == "method_not_allowed"
    assert error_of(target.http.delete("/v1/models"), 405)["code"] == "method_not_allowed"
