"""An answer on its way to the caller, without a network."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import orjson
import pytest

from server.api.problems import OpenAIWording, ResponsesWording
from server.api.stream import send_answer
from server.api.surface import Surface
from server.domain import Answer, ParsedRequest
from server.drain import Drain
from server.errors import EngineError
from server.metering.loop_histogram import Series

CHAT = b'data: {"n":1}\n\n'
EVENT = b'event: response.output_text.delta\ndata: {"delta":"event: response.completed"}\n\n'
LAST = b'event: response.completed\ndata: {"response":{}}\n\n'


def no_gaps() -> Series:
    return Series((1.0,))


def parse(_: bytes) -> ParsedRequest:
    raise AssertionError("no body is parsed here")


CHATS = Surface("chat", parse, OpenAIWording())
RESPONSES = Surface("responses", parse, ResponsesWording(), b"event: response.completed\n")


class Caller:
    """What has arrived, and after how many of these frames the caller had all it needs."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.ended_after: list[int] = []
        self.headers: dict[bytes, bytes] = {}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.headers = dict(message["headers"])
        elif message["body"]:
            self.frames.append(message["body"])

    def end(self) -> None:
        self.ended_after.append(len(self.frames))


async def relay(
    surface: Surface,
    *frames: bytes,
    dies: bool = False,
    kind: str = "text/event-stream",
    whole: bytes | None = None,
    gaps: Series | None = None,
) -> Caller:
    async def engine() -> AsyncGenerator[bytes, None]:
        for frame in frames:
            yield frame
        if dies:
            raise EngineError("engine-0 failed.")

    caller = Caller()
    answer = Answer(200, kind, "engine-0", engine(), whole=whole)
    failure = await send_answer(
        answer, surface, "req-1", caller.send, caller.end, Drain(), lambda: gaps or Series((1.0,))
    )
    assert (failure is not None) == dies
    return caller


async def test_whole_events_pass_as_they_come() -> None:
    caller = await relay(CHATS, CHAT, CHAT + CHAT, b"data: [DONE]\n\n")
    assert caller.frames == [CHAT, CHAT + CHAT, b"data: [DONE]\n\n"]
    assert caller.ended_after[0] == 3


@pytest.mark.parametrize("at", range(1, len(EVENT + LAST)))
async def test_events_that_arrive_in_pieces_are_sent_whole(at: int) -> None:
    stream = EVENT + LAST
    caller = await relay(RESPONSES, stream[:at], stream[at:])
    assert b"".join(caller.frames) == stream
    assert all(frame.endswith(b"\n\n") for frame in caller.frames)
    assert caller.ended_after[0] == len(caller.frames)


async def test_a_stream_of_responses_is_complete_with_its_last_event_and_not_before() -> None:
    caller = await relay(RESPONSES, EVENT, LAST, b": more\n\n")
    assert caller.ended_after[0] == 2


@pytest.mark.parametrize("pieces", [(EVENT, EVENT[:40]), (EVENT + EVENT[:1],), (EVENT, LAST[:-1])])
async def test_an_engine_that_dies_inside_an_event_leaves_none_half_told(pieces: tuple[bytes, ...]) -> None:
    caller = await relay(RESPONSES, *pieces, dies=True)
    assert caller.frames[:-1] == [EVENT]
    assert caller.ended_after == []
    name, data = caller.frames[-1].split(b"\n", 1)
    assert name == b"event: error"
    event = orjson.loads(data.removeprefix(b"data: "))
    told = {"message": "engine-0 failed.", "param": None, "code": "engine_failed"}
    assert event == {"type": "error", "sequence_number": 1, **told, "error": {**told, "type": "server_error"}}


async def test_what_ends_without_an_events_end_is_sent_all_the_same() -> None:
    assert (await relay(CHATS, CHAT, b"data: {")).frames == [CHAT, b"data: {"]


@pytest.mark.parametrize(("kind", "told"), [("text/event-stream", True), ("application/json", False)])
async def test_a_stream_that_is_cut_off_says_so_and_nothing_else_does(kind: str, told: bool) -> None:
    drain, caller = Drain(), Caller()

    async def engine() -> AsyncGenerator[bytes, None]:
        yield CHAT
        await asyncio.Event().wait()

    sending = asyncio.create_task(
        send_answer(
            Answer(200, kind, "engine-0", engine()), CHATS, "req-1", caller.send, caller.end, drain, no_gaps
        )
    )
    while not caller.frames:
        await asyncio.sleep(0)
    drain.end()
    sending.cancel()
    await asyncio.wait({sending})
    assert caller.frames[0] == CHAT
    assert [orjson.loads(frame[6:])["error"]["code"] for frame in caller.frames[1:]] == ["draining"] * told
    assert sending.cancelled() != told
    assert caller.ended_after == []


async def test_other_answers_are_not_looked_into() -> None:
    assert (await relay(CHATS, b"{\n", b"\n\n}", kind="application/json")).frames == [b"{\n", b"\n\n}"]


@pytest.mark.parametrize("whole", [b"{}", b""])
async def test_an_answer_in_one_piece_goes_out_under_its_length(whole: bytes) -> None:
    caller = await relay(CHATS, whole, kind="application/json", whole=whole)
    assert b"".join(caller.frames) == whole
    assert caller.headers[b"content-length"] == b"%d" % len(whole)
    assert len(caller.ended_after) == 1


async def test_a_streams_length_is_not_told() -> None:
    assert b"content-length" not in (await relay(CHATS, CHAT)).headers


@pytest.mark.parametrize(("frames", "seen"), [((), 0), ((CHAT,), 0), ((CHAT, CHAT + CHAT, CHAT), 2)])
async def test_the_time_between_two_reads_is_observed(frames: tuple[bytes, ...], seen: int) -> None:
    gaps = Series((1e9,))
    await relay(CHATS, *frames, gaps=gaps)
    assert gaps.counts == [seen, 0]
    assert (gaps.sum > 0) == (seen > 0)


async def test_an_answer_in_one_piece_has_no_gaps() -> None:
    gaps = Series((1e9,))
    await relay(CHATS, kind="application/json", whole=b"{}", gaps=gaps)
    assert gaps.counts == [0, 0]
