"""Errors as the OpenAI API words them: {"error": {"message", "type", "param", "code"}}."""

import orjson
from starlette.responses import Response

from server.errors import BusyError, GatewayError, InsufficientScope, Unauthenticated


class OpenAIWording:
    def response(self, error: GatewayError, request_id: str) -> Response:
        return problem_response(error, problem_body(error))

    def event(self, error: GatewayError, request_id: str) -> bytes:
        """The server-sent event that ends a stream which failed after its first byte."""
        return b"data: " + problem_body(error) + b"\n\n"


def problem_body(error: GatewayError) -> bytes:
    return orjson.dumps(
        {
            "error": {
                "message": error.message,
                "type": error.kind,
                "param": error.param,
                "code": error.code,
            }
        }
    )


def problem_response(error: GatewayError, body: bytes) -> Response:
    """Status and headers are the same in all wordings."""
    headers = {}
    if isinstance(error, BusyError):
        headers["retry-after"] = str(error.retry_after_s)
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, InsufficientScope):
        headers["www-authenticate"] = 'Bearer error="insufficient_scope"'
    return Response(body, error.status, headers, "application/json")
