"""One request's answer on a connection, without a network."""

import asyncio
import logging
from typing import Any

import pytest

from server.api.exchange import EXCHANGE, LEAST_PIECE_BYTES, LEAST_UNCOPIED_BYTES, Exchange, exchange_of

Headers = list[tuple[bytes, bytes]]


class Transport:
    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def writelines(self, pieces: list[bytes]) -> None:
        assert all(pieces)
        self.writes.append(b"".join(pieces))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


class Flow:
    write_paused = False
    reads = 0

    def resume_reading(self) -> None:
        self.reads += 1


class Connection:
    def __init__(self) -> None:
        self.transport, self.flow = Transport(), Flow()
        self.loop = asyncio.get_running_loop()
        self.completed = 0

    def on_response_complete(self) -> None:
        self.completed += 1


class Scene:
    def __init__(self, method: str = "POST", keep_alive: bool = True) -> None:
        self.connection = Connection()
        self.scope: dict[str, Any] = {"type": "http", "method": method}
        defaults = [(b"date", b"now")]
        log = logging.getLogger("test")
        self.exchange = Exchange(self.connection, self.scope, log, defaults, keep_alive)  # type: ignore[arg-type]
        self.scope["extensions"] = {EXCHANGE: self.exchange}

    async def answer(self, *bodies: bytes, status: int = 200, headers: Headers | None = None) -> list[bytes]:
        await self.exchange.send({"type": "http.response.start", "status": status, "headers": headers or []})
        for number, body in enumerate(bodies, 1):
            more = number < len(bodies)
            await self.exchange.send({"type": "http.response.body", "body": body, "more_body": more})
        return self.connection.transport.writes


def length(count: int) -> Headers:
    return [(b"content-length", b"%d" % count)]


@pytest.mark.parametrize("size", [0, 2, LEAST_UNCOPIED_BYTES])
async def test_a_whole_answer_is_one_write(size: int) -> None:
    scene = Scene()
    writes = await scene.answer(b"x" * size, headers=length(size))
    assert writes == [b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size]
    assert (scene.connection.completed, scene.connection.transport.closed) == (1, False)


@pytest.mark.parametrize("size", [2, LEAST_UNCOPIED_BYTES])
async def test_a_stream_is_one_write_a_frame_and_its_head_goes_with_the_first(size: int) -> None:
    frame = b"%x\r\n" % size + b"x" * size + b"\r\n"
    writes = await Scene().answer(b"x" * size, b"x" * size, b"")
    head = b"HTTP/1.1 200 OK\r\ndate: now\r\ntransfer-encoding: chunked\r\n\r\n"
    assert writes == [head + frame, frame, b"0\r\n\r\n"]


async def test_a_head_alone_waits_for_its_body() -> None:
    assert await Scene().answer() == []


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_answers_without_a_body_have_none(method: str, status: int) -> None:
    (written,) = await Scene(method).answer(b"", status=status)
    assert written.endswith(b"date: now\r\n\r\n")


@pytest.mark.parametrize("headers", [[], [(b"connection", b"close")], [(b"connection", b"Keep, Close")]])
async def test_a_connection_that_is_not_kept_says_so_and_is_closed(headers: Headers) -> None:
    scene = Scene(keep_alive=bool(headers))
    (written,) = await scene.answer(b"", headers=[*headers, *length(0)])
    assert written.lower().count(b"connection:") == 1
    assert scene.connection.transport.closed


@pytest.mark.parametrize("value", [b"a\r\nx: y", b"a\nb", b"\x00", b"\x7f"])
@pytest.mark.parametrize("in_name", [False, True])
async def test_no_header_can_begin_another(value: bytes, in_name: bool) -> None:
    header = (value, b"x") if in_name else (b"x", value)
    with pytest.raises(RuntimeError, match="control character"):
        await Scene().answer(b"", headers=[header])


@pytest.mark.parametrize("bodies", [(b"x",), (b"xxx",), (b"x", b"xx")])
async def test_a_body_of_another_length_than_told_is_a_bug(bodies: tuple[bytes, ...]) -> None:
    with pytest.raises(RuntimeError, match="content-length"):
        await Scene().answer(*bodies, headers=length(2))


async def test_messages_out_of_order_are_a_bug() -> None:
    scene = Scene()
    with pytest.raises(RuntimeError):
        await scene.exchange.send({"type": "http.response.body", "body": b""})
    await scene.answer(b"")
    with pytest.raises(RuntimeError):
        await scene.exchange.send({"type": "http.response.body", "body": b""})


async def test_a_caller_that_leaves_is_told_once_and_sent_nothing() -> None:
    scene, told = Scene(), list[str]()
    scene.exchange.call_when_left(lambda: told.append("left"))
    assert scene.connection.flow.reads == 1  # who is not read is not seen to leave
    scene.exchange.leave()
    scene.exchange.leave()
    assert told == ["left"]
    assert await scene.answer(b"x") == []
    assert (await scene.exchange.receive())["type"] == "http.disconnect"


async def test_a_caller_that_leaves_with_its_answer_has_left_nothing() -> None:
    scene, told = Scene(), list[str]()
    scene.exchange.call_when_left(lambda: told.append("left"))
    await scene.answer(b"")
    scene.exchange.leave()
    assert told == []


@pytest.mark.parametrize("pieces", [[], [b"abc"], [b"a", b"b", b"c"]])
async def test_a_body_that_is_there_is_taken_at_once_and_once(pieces: list[bytes]) -> None:
    exchange = Scene().exchange
    for piece in pieces:
        exchange.add(piece)
    assert exchange.take_whole_body() is None  # its end has not come
    exchange.more_body = False
    assert exchange.take_whole_body() == b"".join(pieces)
    assert exchange.take_whole_body() == b""


async def test_bytes_that_come_one_by_one_are_held_in_few_pieces_and_large_ones_as_they_came() -> None:
    exchange = Scene().exchange
    large = [b"l" * LEAST_PIECE_BYTES, b"m" * LEAST_PIECE_BYTES]
    sent = [b"a", *[b"b"] * 1000, large[0], *[b"c"] * 1000, large[1], b"d"]
    for piece in sent:
        exchange.add(piece)
    assert exchange.held == sum(map(len, sent))
    pieces = exchange.take_pieces()
    assert b"".join(pieces) == b"".join(sent)
    assert [len(piece) for piece in pieces] == [1, 1000, LEAST_PIECE_BYTES, 1000, LEAST_PIECE_BYTES, 1]
    assert [piece for piece in pieces if any(piece is each for each in large)] == large
    assert (exchange.held, exchange.take_pieces()) == (0, [])


async def test_who_waits_to_be_asked_for_its_body_is_asked() -> None:
    scene = Scene()
    scene.exchange.waiting_for_100_continue = True
    scene.exchange.add(b"abc")
    scene.exchange.more_body = False
    assert scene.exchange.take_whole_body() is None
    assert (await scene.exchange.receive())["body"] == b"abc"
    assert scene.connection.transport.writes == [b"HTTP/1.1 100 Continue\r\n\r\n"]


async def test_who_waits_for_a_body_is_woken_and_may_leave() -> None:
    scene = Scene()
    left = asyncio.create_task(scene.exchange.receive())
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    waiting = asyncio.create_task(scene.exchange.receive())
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waiting.done()
    scene.exchange.add(b"abc")
    scene.exchange.add(b"def")
    assert (await waiting)["body"] == b"abcdef"


async def test_what_holds_each_other_is_parted_when_the_request_has_ended() -> None:
    scene = Scene()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert exchange_of(scope) is scene.exchange
        scene.exchange.call_when_left(lambda: None)
        await scene.answer(b"")

    await asyncio.create_task(scene.exchange.run_asgi(app))
    assert exchange_of(scene.scope) is None
    assert scene.exchange.connection is None
