import orjson
import pytest

from server.api.estimating import SURFACES, parse_any, read_route
from server.errors import CallerError


@pytest.mark.parametrize(
    ("body", "route"),
    [
        ({"messages": [{"role": "user", "content": "a"}]}, "chat"),
        ({"prompt": "a"}, "completions"),
        ({"input": "a"}, "responses"),
    ],
)
def test_the_field_of_the_prompt_tells_the_route(body: dict[str, object], route: str) -> None:
    assert parse_any(orjson.dumps({"model": "demo", **body})).route == route


@pytest.mark.parametrize(
    ("query", "route"), [(b"", ""), (b"route=messages", "messages"), (b"route=", ""), (b"a=b", "")]
)
def test_the_query_may_tell_it(query: bytes, route: str) -> None:
    assert read_route(query) == route


@pytest.mark.parametrize("query", [b"route=tokenize", b"route=chat&route=chat", b"a" * 300, b"route=%ff"])
def test_no_other_routes_are_estimated(query: bytes) -> None:
    with pytest.raises(CallerError):
        read_route(query)


def test_an_estimate_is_no_stream_whatever_the_request_asks_for() -> None:
    body = {"model": "demo", "stream": True, "messages": [{"role": "user", "content": "a"}]}
    assert not SURFACES["chat"].parse(orjson.dumps(body)).stream
