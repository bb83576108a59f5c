import asyncio
from typing import Any

import pytest

from server.engine.encoder_cache.outcomes import Outcomes
from server.engine.encoder_cache.telling import MOST_PICTURES, TellsOutcomes

Message = dict[str, Any]
START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}


def body(data: bytes, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def scope(names: bytes | None = b"a") -> Message:
    headers = [(b"host", b"engine")] + ([] if names is None else [(b"x-fovea-images", names)])
    return {"type": "http", "path": "/v1/chat/completions", "headers": headers}


class Call:
    """One request through the middleware; the application says `messages`, between which `between` happens."""

    def __init__(self, asked: Message, *messages: Message, between: dict[str, Any] | None = None) -> None:
        self.sent: list[Message] = []
        self.sent_at: list[int] = []
        self._said = 0
        outcomes = Outcomes(clock=lambda: 5.0)

        async def application(_: Message, receive: Any, send: Any) -> None:
            for number, message in enumerate(messages):
                if between and number == len(messages) - 1:
                    outcomes.note(between)  # type: ignore[arg-type]
                self._said += 1
                await send(message)

        async def note(message: Message) -> None:
            self.sent.append(message)
            self.sent_at.append(self._said)

        told = TellsOutcomes(application, outcomes.of, clock=lambda: 4.0)  # type: ignore[arg-type]
        asyncio.run(told(asked, None, note))  # type: ignore[arg-type]

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])


def test_the_head_says_what_was_found_before_the_first_bytes() -> None:
    call = Call(scope(b"a, b"), START, body(b"x"), between={"a": "disk", "b": "miss"})
    assert call.headers == {b"content-type": b"text/plain", b"x-fovea-image-cache": b"hit-disk,miss"}
    assert [message["type"] for message in call.sent] == ["http.response.start", "http.response.body"]
    assert b"x-fovea-image-cache" not in dict(START["headers"])  # type: ignore[call-overload]


def test_only_the_head_waits_and_only_for_the_first_bytes() -> None:
    call = Call(scope(), START, body(b"1", more=True), body(b"2", more=True), body(b"3"))
    assert call.sent_at == [2, 2, 3, 4]
    assert [message.get("body") for message in call.sent] == [None, b"1", b"2", b"3"]


def test_where_a_picture_was_not_told_of_nothing_is_said() -> None:
    call = Call(scope(b"a,b"), START, body(b"x"), between={"a": "disk"})
    assert b"x-fovea-image-cache" not in call.headers


@pytest.mark.parametrize("names", [None, b"", b"a,,b", b",".join([b"a"] * (MOST_PICTURES + 1))])
def test_requests_that_name_no_pictures_pass_untouched(names: bytes | None) -> None:
    call = Call(scope(names), START, body(b"x"), between={"a": "disk", "b": "disk"})
    assert call.sent[0] is START
    assert call.sent_at == [1, 2]


def test_what_is_no_http_passes_untouched() -> None:
    accept = {"type": "websocket.accept"}
    call = Call({**scope(), "type": "websocket"}, accept, {"type": "websocket.close"})
    assert call.sent[0] is accept
    assert call.sent_at == [1, 2]


def test_errors_say_nothing_of_pictures() -> None:
    refused = {**START, "status": 400}
    call = Call(scope(), refused, body(b"no"), between={"a": "miss"})
    assert call.sent[0] == refused


def test_an_application_that_fails_behind_its_head_leaves_the_answer_to_whoever_is_outside() -> None:
    sent: list[Message] = []

    async def broken(_: Message, receive: Any, send: Any) -> None:
        await send(START)
        raise RuntimeError("no body")

    async def note(message: Message) -> None:
        sent.append(message)

    with pytest.raises(RuntimeError, match="no body"):
        asyncio.run(TellsOutcomes(broken)(scope(), None, note))  # type: ignore[arg-type]
    assert sent == []
