"""What holds answers to the published documents finds what it should: each of these answers has one thing wrong."""

import json
from typing import Any

import pytest

from tests.published import EVENTS, Exchange, violations

CHAT = "/v1/chat/completions"
MESSAGE = {"role": "assistant", "content": "4", "refusal": None}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "demo",
    "choices": [{"index": 0, "message": MESSAGE, "logprobs": None, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
CARD = {"id": "demo", "object": "model", "created": 0, "owned_by": "fovea"}
ERROR = {"message": "no", "type": "invalid_request_error", "param": None, "code": None}
FILE = {"id": "file-1", "object": "file", "bytes": 3, "created_at": 1, "filename": "a", "status": "processed"}


def answered(path: str, body: Any, status: int = 200, method: str = "POST") -> Exchange:
    if isinstance(body, str):
        return Exchange(method, path, status, EVENTS, body.encode())
    return Exchange(method, path, status, "application/json", json.dumps(body).encode())


def told(event: Any) -> str:
    return f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n"


@pytest.mark.parametrize(
    "exchange",
    [
        answered(CHAT, ANSWER),
        answered(CHAT, {**ANSWER, "prompt_logprobs": None, "kv_transfer_params": None}),
        answered(CHAT, {**ANSWER, "system_fingerprint": None}),
        answered("/v1/models/org/name", CARD, method="GET"),
        answered(CHAT, {"error": ERROR}, 400),
        answered(CHAT, ": keepalive\n\n" + told({"error": ERROR})),
        answered("/v1/messages", told({"type": "message_stop"})),
        Exchange("GET", "/v1/files/file-1/content", 200, "image/png", b"\x89PNG"),
        Exchange("GET", "/metrics", 200, "text/plain", b""),
    ],
    ids=str,
)
def test_what_is_published_passes(exchange: Exchange) -> None:
    assert violations(exchange) == []


@pytest.mark.parametrize(
    ("exchange", "problem"),
    [
        (answered(CHAT, {**ANSWER, "object": "chat"}), "$.object: 'chat' is not one of ['chat.completion']"),
        (answered(CHAT, {**ANSWER, "usage": {}}), "$.usage: 'prompt_tokens' is a required property"),
        (answered(CHAT, told(ANSWER)), "$.object: 'chat.completion' is not one of ['chat.completion.chunk']"),
        (answered("/v1/models", {"object": "list", "data": [{}]}, method="GET"), "$.data[0]: 'id' is a required"),
        (answered(CHAT, {"error": {**ERROR, "code": 400}}, 400), "$.error.code: 400 is not of type 'string'"),
        (answered(CHAT, {"detail": "Not Found"}, 404), "$: 'error' is a required property"),
        (Exchange("POST", CHAT, 500, "text/plain", b"Internal Server Error"), "an error told as text/plain"),
        (answered("/v1/files", FILE), "$: 'purpose' is a required property"),
        (answered("/v1/responses", told({"type": "response.done"})), "no event of the type 'response.done'"),
        (answered("/v1/responses", told({"type": "response.created"})), "$: 'response' is a required property"),
        (answered("/v1/messages", told({"type": "message_start"})), "$: 'message' is a required property"),
        (answered("/v1/messages", {"error": ERROR}, 400), "$: 'request_id' is a required property"),
        (answered("/invocations", {}), "no such route is published"),
    ],
    ids=str,
)
def test_what_is_not_published_is_told(exchange: Exchange, problem: str) -> None:
    assert any(f"{exchange}: {problem}" in each for each in violations(exchange)), violations(exchange)
