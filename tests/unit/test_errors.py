from collections.abc import Iterator

import orjson
import pytest

import server.engines.refusal  # noqa: F401 - declares an error of its own
from server import errors
from server.api.problems import OpenAIWording
from server.errors import BusyError, GatewayError


def leaves(kind: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from leaves(child)


def test_every_error_has_a_code_of_its_own() -> None:
    """Those that name none answer as what they are kinds of: callers need not tell them apart."""
    named = [kind for kind in leaves() if "code" in vars(kind)]
    codes = [kind.code for kind in named if kind is not errors.InternalError]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("kind", list(leaves()))
def test_every_error_answers_in_openais_shape(kind: type[GatewayError]) -> None:
    error = kind("what to do")
    response = OpenAIWording().response(error, "req-1")
    body = orjson.loads(bytes(response.body))
    assert response.status_code == kind.status
    assert body == {"error": {"message": "what to do", "type": kind.kind, "param": None, "code": kind.code}}
    assert OpenAIWording().event(error, "req-1", 3) == b"data: " + bytes(response.body) + b"\n\n"


def test_busy_errors_say_when_to_come_back() -> None:
    assert OpenAIWording().response(BusyError("busy", 7), "req-1").headers["retry-after"] == "7"


@pytest.mark.parametrize("kind", list(leaves()))
def test_the_drawn_tree_shows_every_error_with_its_status(kind: type[GatewayError]) -> None:
    if kind.__module__ == "server.errors" and kind is not GatewayError:
        assert f"{kind.__name__} {kind.status} {kind.code}" in (errors.__doc__ or "")
