"""Errors as the OpenAI API words them: {"error": {"message", "type", "param", "code"}}."""

import orjson
from starlette.responses import Response

from server.errors import BusyError, GatewayError, InsufficientScope, RateLimitExceeded, Unauthenticated


class OpenAIWording:
    def response(self, error: GatewayError, request_id: str) -> Response:
        return problem_response(error, problem_body(error))

    def event(self, error: GatewayError, request_id: str, events: int) -> bytes:
        """The server-sent event that ends a stream which failed after its first byte."""
        return b"data: " + problem_body(error) + b"\n\n"


class ResponsesWording(OpenAIWording):
    """As everywhere else, but that the events of /v1/responses have names and numbers."""

    def event(self, error: GatewayError, request_id: str, events: int) -> bytes:
        """The schema's error event, and in it `error`, on which the SDKs raise: an event is easily passed over."""
        told = problem_of(error)
        event = {"type": "error", "sequence_number": events, **told, "error": {**told, "type": error.kind}}
        return b"event: error\ndata: " + orjson.dumps(event) + b"\n\n"


def problem_of(error: GatewayError) -> dict[str, str | None]:
    return {"message": error.message, "param": error.param, "code": error.code}


def problem_body(error: GatewayError) -> bytes:
    return orjson.dumps({"error": {"type": error.kind, **problem_of(error)}})


def problem_response(error: GatewayError, body: bytes) -> Response:
    """Status and headers are the same in all wordings."""
    headers = {}
    if isinstance(error, BusyError):
        headers["retry-after"] = str(error.retry_after_s)
    if isinstance(error, RateLimitExceeded):
        headers.update((name.decode(), value.decode()) for name, value in error.headers)
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, InsufficientScope):
        headers["www-authenticate"] = 'Bearer error="insufficient_scope"'
    return Response(body, error.status, headers, "application/json")
