"""Errors as the OpenAI API words them: {"error": {"message", "type", "param", "code"}}."""

import orjson
from starlette.responses import Response

from server.errors import BusyError, GatewayError, Unauthenticated


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


def problem_response(error: GatewayError) -> Response:
    headers = {}
    if isinstance(error, BusyError):
        headers["retry-after"] = str(error.retry_after_s)
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    return Response(problem_body(error), error.status, headers, "application/json")


def problem_event(error: GatewayError) -> bytes:
    """The server-sent event that ends a stream which failed after its first byte."""
    return b"data: " + problem_body(error) + b"\n\n"
