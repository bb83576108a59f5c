"""Errors as the Messages API words them, with our code and path beside Anthropic's own fields."""

import orjson
from starlette.responses import Response

from server.api.messages.request import FIELDS
from server.api.problems import problem_response
from server.engines.refusal import EngineRefused
from server.errors import ContextTooLong, GatewayError

KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
# Fields of the chat that we made, and what they were in the body that was sent.
SENT_AS = {
    "stop": "stop_sequences",
    "max_completion_tokens": "max_tokens",
    "response_format": "output_config.format",
    "reasoning_effort": "output_config.effort",
    "thinking_token_budget": "thinking.budget_tokens",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
}


class AnthropicWording:
    def response(self, error: GatewayError, request_id: str) -> Response:
        return problem_response(error, problem_body(error, request_id))

    def event(self, error: GatewayError, request_id: str, events: int) -> bytes:
        """The event that ends a stream which failed after its first byte."""
        return b"event: error\ndata: " + problem_body(error, request_id) + b"\n\n"


def problem_body(error: GatewayError, request_id: str) -> bytes:
    told = {"type": kind_of(error.status), "message": error.message, "code": error.code, "param": param_of(error)}
    return orjson.dumps({"type": "error", "error": told, "request_id": request_id})


def kind_of(status: int) -> str:
    return KINDS.get(status, "invalid_request_error" if status < 500 else "api_error")


def param_of(error: GatewayError) -> str | None:
    """An engine names the chat that it was sent, of which the caller knows nothing."""
    if error.param is None or not isinstance(error, EngineRefused | ContextTooLong):
        return error.param
    name = error.param.partition("[")[0].partition(".")[0]
    return SENT_AS.get(name, name if name in FIELDS else None)
