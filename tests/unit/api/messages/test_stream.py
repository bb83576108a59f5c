from collections.abc import AsyncGenerator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.api.messages.answer import tell_message
from server.api.messages.events import MESSAGE_STOP, MessageEvents
from server.api.messages.frames import EventReader
from server.domain import Answer
from server.errors import EngineError
from tests.unit.api.messages.chunks import DONE, USAGE, blocks, call, chunk, event, stream, told, types

ABSENT = {"container": None, "stop_details": None}
DIRECT = {"caller": {"type": "direct"}}
SAID = (
    chunk(reasoning="Hm: "),
    chunk(reasoning="drei."),
    chunk(content="3 objéts"),
    chunk(content=" ✓ 🟥"),
    chunk(tool_calls=[call(0, name="count")]),
    chunk(tool_calls=[call(0, '{"n": '), call(0, "3}"), call(1, '{"c', "colour")]),
    chunk(tool_calls=[call(1, '": "é"}')]),
    chunk("tool_calls"),
)


def answer(*frames: bytes) -> Answer:
    async def give() -> AsyncGenerator[bytes, None]:
        for frame in frames:
            yield frame

    return Answer(200, "text/event-stream; charset=utf-8", "engine-0", give())


def tokens(usage: dict[str, Any]) -> dict[str, int]:
    return {name: number for name, number in usage.items() if number is not None}


async def tell(*frames: bytes) -> bytes:
    return b"".join([frame async for frame in (await tell_message(answer(*frames))).frames])


async def tell_until_it_fails(*frames: bytes) -> bytes:
    """What is told before the engine's failure, which must come."""
    said = []
    with pytest.raises(EngineError):  # noqa: PT012
        async for frame in (await tell_message(answer(*frames))).frames:
            said.append(frame)
    return b"".join(said)


async def test_text_becomes_one_block_between_start_and_stop() -> None:
    events = told(await tell(stream(chunk(content="3"), chunk(content=" objects"), chunk("stop"))))
    assert types(events) == ["message_start", "start", "delta", "stop", "message_delta", "message_stop"]
    message = events[0]["message"]
    assert (message["id"], message["role"], message["model"], message["content"]) == (
        "msg_1",
        "assistant",
        "demo",
        [],
    )
    assert tokens(message["usage"]) == {"input_tokens": 20, "output_tokens": 0}
    assert blocks(events) == [{"type": "text", "text": "", "citations": None, "said": "3 objects"}]
    assert events[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None, **ABSENT}
    assert tokens(events[-2]["usage"]) == {"input_tokens": 20, "output_tokens": 5}


async def test_thoughts_text_and_calls_are_blocks_of_their_own() -> None:
    events = told(await tell(stream(*SAID)))
    thought, text, count, colour = blocks(events)
    assert (thought["type"], thought["said"]) == ("thinking", "Hm: drei.")
    assert thought["signature"] != ""
    assert (text["type"], text["said"]) == ("text", "3 objéts ✓ 🟥")
    assert count == {"type": "tool_use", "id": "call-0", "name": "count", "input": {}, **DIRECT, "said": '{"n": 3}'}
    assert colour == {
        "type": "tool_use",
        "id": "call-1",
        "name": "colour",
        "input": {},
        **DIRECT,
        "said": '{"c": "é"}',
    }
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


async def test_text_inside_a_call_waits_until_the_call_is_whole() -> None:
    parts = [call(0, '{"n"', "count")], [call(0, ": 3}")], [call(1, "{}", "count")]
    said = stream(
        chunk(tool_calls=parts[0]),
        chunk(content="\n"),
        chunk(tool_calls=parts[1]),
        chunk(content="and "),
        chunk(tool_calls=parts[2]),
        chunk(content="done"),
        chunk("tool_calls"),
    )
    made = [(block["type"], block["said"]) for block in blocks(told(await tell(said)))]
    assert made == [("tool_use", '{"n": 3}'), ("text", "\nand "), ("tool_use", "{}"), ("text", "done")]


async def test_an_answer_that_says_nothing_has_no_blocks() -> None:
    events = told(await tell(stream(chunk("stop"))))
    assert types(events) == ["message_start", "message_delta", "message_stop"]


async def test_the_first_chunk_may_speak_already() -> None:
    said = event(chunk(content="3")) + event(chunk("length", content="4")) + DONE
    events = told(await tell(said))
    assert blocks(events)[0]["said"] == "34"
    assert events[-2]["delta"]["stop_reason"] == "max_tokens"


@pytest.mark.parametrize(
    ("finish", "stop", "arguments", "told_reason", "sequence"),
    [
        ("stop", None, None, "end_turn", None),
        ("stop", 151645, None, "end_turn", None),
        ("stop", "END", None, "stop_sequence", "END"),
        ("length", "END", None, "max_tokens", None),
        ("abort", None, None, None, None),
        ("tool_calls", None, "{}", "tool_use", None),
        ("stop", None, "{}", "tool_use", None),
        ("stop", "END", "{}", "tool_use", None),
        ("stop", "END", '{"n', "stop_sequence", "END"),
        ("length", None, '{"n', "max_tokens", None),
    ],
)
async def test_why_it_ended_is_told_in_anthropics_words(
    finish: str, stop: Any, arguments: str | None, told_reason: str | None, sequence: str | None
) -> None:
    calls = [chunk(tool_calls=[call(0, arguments, "count")])] if arguments else []
    delta = told(await tell(stream(*calls, chunk(finish, stop))))[-2]["delta"]
    assert delta == {"stop_reason": told_reason, "stop_sequence": sequence, **ABSENT}


async def test_tokens_read_from_a_cache_are_no_input() -> None:
    usage = {**USAGE, "prompt_tokens_details": {"cached_tokens": 16, "created_cache_tokens": 1}}
    last = {"id": "chatcmpl-1", "model": "demo", "choices": [], "usage": usage}
    events = told(await tell(event(chunk(content="3")) + event(last) + DONE))
    assert tokens(events[-2]["usage"]) == {
        "input_tokens": 3,
        "output_tokens": 5,
        "cache_read_input_tokens": 16,
        "cache_creation_input_tokens": 1,
    }


@given(st.lists(st.integers(0, len(stream(*SAID))), max_size=30))
async def test_events_may_be_cut_anywhere(cuts: list[int]) -> None:
    """Signatures are made up: they are left out of the comparison."""
    whole = stream(*SAID)
    edges = [0, *sorted(cuts), len(whole)]
    frames = [whole[a:b] for a, b in pairwise(edges)]
    pieces = told(await tell(*frames))
    assert without_signatures(pieces) == without_signatures(told(await tell(whole)))


def without_signatures(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in events if each.get("delta", {}).get("type") != "signature_delta"]


PIECES = st.sampled_from(
    [b"data: ", b"data:", b": ping\n\n", b"event: x\n", b"\n", b"\r\n", b"\n\n", b"{", b"}", b"[DONE]", b'"\xff"']
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "choices delta content reasoning tool_calls index function name arguments id usage finish_reason"
                " stop_reason prompt_tokens prompt_tokens_details cached_tokens message error".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.lists(PIECES | VALUES.map(event), max_size=12))
async def test_an_engine_that_talks_nonsense_is_an_engine_that_failed(frames: list[bytes]) -> None:
    """Nothing but EngineError comes of it, and up to that events in an order that callers can follow."""
    said = []
    with suppress(EngineError):
        async for frame in (await tell_message(answer(*frames))).frames:
            said.append(frame)
    order = [each["type"] for each in told(b"".join(said))]
    assert order[:1] in ([], ["message_start"])
    assert "message_start" not in order[1:]
    assert "message_stop" not in order[:-1]


@given(VALUES)
async def test_a_whole_answer_of_nonsense_is_an_engine_that_failed(value: Any) -> None:
    async def give() -> AsyncGenerator[bytes, None]:
        yield event(value).removeprefix(b"data: ")

    try:
        made = await tell_message(Answer(200, "application/json", "engine-0", give()))
    except EngineError:
        return
    assert b'"type":"message"' in b"".join([frame async for frame in made.frames])


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b"data: {\n\n"],
        [b"data: 5\n\n"],
        [event({"error": {"message": "secret", "code": 500}}), DONE],
        [DONE],
    ],
)
async def test_a_failure_before_the_first_event_is_an_error_with_a_status(frames: list[bytes]) -> None:
    with pytest.raises(EngineError) as caught:
        await tell_message(answer(*frames))
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    "last",
    [
        b"",
        b"data: {\n\n",
        event({"error": {"message": "EngineDeadError"}}),
        event(chunk(tool_calls=[call(0, "{}")])),
        event(chunk(tool_calls=[call(0, "{", "a"), call(1, "{", "b"), call(0, "}")])),
    ],
)
async def test_a_failure_later_on_comes_after_what_was_said(last: bytes) -> None:
    events = told(await tell_until_it_fails(event(chunk(content="3")), event(chunk(content="4")) + last))
    assert "".join(each["delta"]["text"] for each in events if each["type"] == "content_block_delta") == "34"
    assert "message_stop" not in types(events)


async def test_what_comes_after_the_end_is_left_out() -> None:
    whole = stream(chunk(content="3"), chunk("stop"))
    assert await tell(whole + event(chunk(content="4")), DONE) == await tell(whole)
    assert (await tell(whole)).endswith(MESSAGE_STOP)


def test_an_event_that_never_ends_is_not_held() -> None:
    reader = EventReader("engine-0", most_bytes=100)
    assert list(reader.feed(b"data: " + b"x" * 80)) == []
    with pytest.raises(EngineError):
        list(reader.feed(b"x" * 20))


def test_many_lines_of_one_event_are_bounded_together() -> None:
    reader = EventReader("engine-0", most_bytes=100)
    with pytest.raises(EngineError):
        list(reader.feed(b"data: x\n" * 20))


def test_events_and_comments_one_after_another_are_not_held() -> None:
    reader = EventReader("engine-0", most_bytes=100)
    assert list(reader.feed(b"data: x\n\n" * 1000)) == [b"x"] * 1000
    assert list(reader.feed(b": keepalive\n" * 1000 + b"data: y\n\n")) == [b"y"]


def test_an_event_of_several_lines_is_joined_by_them() -> None:
    assert list(EventReader("engine-0").feed(b"id: 1\r\ndata: a\r\ndata:b\r\n\r\n")) == [b"a\nb"]


def test_a_call_whose_arguments_never_end_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.api.messages.events.MOST_HELD_BYTES", 100)
    events = MessageEvents("engine-0")
    events.feed(event(chunk(tool_calls=[call(0, "{", "count")]))[6:-2])
    with pytest.raises(EngineError):
        events.feed(event(chunk(tool_calls=[call(0, "9" * 100)]))[6:-2])
