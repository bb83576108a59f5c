import orjson
import pytest

from server.api.messages.problems import AnthropicWording
from server.api.surfaces import wording_of
from server.engines.refusal import EngineRefused
from server.errors import BusyError, CallerError, GatewayError
from tests.unit.test_errors import leaves

KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
    507: "api_error",
}


@pytest.mark.parametrize("kind", list(leaves()))
def test_every_error_answers_in_anthropics_shape(kind: type[GatewayError]) -> None:
    error = kind("what to do")
    response = AnthropicWording().response(error, "req-1")
    told = orjson.loads(bytes(response.body))
    assert response.status_code == kind.status
    expected = KINDS.get(kind.status, "invalid_request_error")
    assert told["error"] == {"type": expected, "message": "what to do", "code": kind.code, "param": None}
    assert (told["type"], told["request_id"]) == ("error", "req-1")


def test_an_error_inside_a_stream_is_an_event_of_that_name() -> None:
    name, data, *rest = AnthropicWording().event(BusyError("busy"), "req-1", 3).split(b"\n")
    assert (name, rest) == (b"event: error", [b"", b""])
    assert orjson.loads(data.removeprefix(b"data: "))["error"]["type"] == "rate_limit_error"


def test_busy_errors_say_when_to_come_back() -> None:
    assert AnthropicWording().response(BusyError("busy", 7), "req-1").headers["retry-after"] == "7"


@pytest.mark.parametrize(
    ("error", "param"),
    [
        (EngineRefused("no", "stop"), "stop_sequences"),
        (EngineRefused("no", "max_completion_tokens"), "max_tokens"),
        (EngineRefused("no", "messages[3].content"), "messages"),
        (EngineRefused("no", "stream_options"), None),
        (EngineRefused("no", "temperature"), "temperature"),
        (CallerError("no", "messages[3].content"), "messages[3].content"),
    ],
)
def test_an_engines_path_is_told_in_words_of_the_body_that_was_sent(error: GatewayError, param: str | None) -> None:
    told = orjson.loads(bytes(AnthropicWording().response(error, "req-1").body))
    assert told["error"]["param"] == param


@pytest.mark.parametrize(
    ("path", "version", "anthropic"),
    [
        ("/v1/messages", None, True),
        ("/v1/messages/count", None, True),
        ("/v1/messagesx", b"2023-06-01", False),
        ("/v1/chat/completions", b"2023-06-01", False),
        ("/v1/files", b"2023-06-01", True),
        ("/v1/files/file-1", b"2023-06-01", True),
        ("/v1/files", None, False),
    ],
)
def test_the_wording_goes_with_the_path(path: str, version: bytes | None, anthropic: bool) -> None:
    headers = [] if version is None else [(b"anthropic-version", version)]
    assert isinstance(wording_of({"path": path, "headers": headers}), AnthropicWording) is anthropic
