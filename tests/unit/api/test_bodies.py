"""Where bodies are parsed: at once, or in a thread."""

import threading
from functools import partial

import orjson
import pytest

from server.api.bodies import LEAST_BYTES, MOST_AT_ONCE_BYTES, BodyParser
from server.api.parse import parse_request
from server.domain import ParsedRequest, Raw
from server.errors import MalformedBody
from server.loop_turns import LoopTurns
from tests.pictures import chat, image_part, text_part


def chat_of(text_bytes: int, picture_bytes: int) -> bytes:
    picture = [image_part(b"x" * picture_bytes)] if picture_bytes else []
    return orjson.dumps(chat(text_part("a" * text_bytes), *picture))


@pytest.mark.parametrize(
    ("raw", "at_once"),
    [
        (chat_of(10, 0), True),
        (chat_of(LEAST_BYTES - 1000, 0), True),
        (chat_of(LEAST_BYTES, 0), False),
        (chat_of(10, 500_000), True),
        (chat_of(LEAST_BYTES, 500_000), False),
        (chat_of(10, MOST_AT_ONCE_BYTES), False),
    ],
)
async def test_what_is_large_by_a_picture_alone_is_parsed_at_once(raw: bytes, at_once: bool) -> None:
    threads = []

    def parse(text: Raw) -> ParsedRequest:
        threads.append(threading.current_thread())
        return parse_request("chat", text)

    bodies = BodyParser(LoopTurns(1))
    for _ in range(3):  # more than there are turns
        assert (await bodies.parse(parse, raw)).model == "demo"
    bodies.close()
    assert {thread is threading.main_thread() for thread in threads} == {at_once}


async def test_a_large_body_that_is_refused_is_refused_as_it_came() -> None:
    bodies = BodyParser(LoopTurns(1))
    with pytest.raises(MalformedBody):
        await bodies.parse(partial(parse_request, "chat"), chat_of(10, 500_000)[:-1])
    bodies.close()
