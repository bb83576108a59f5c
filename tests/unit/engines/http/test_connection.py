"""A connection under fire, without a socket: whatever comes whenever, whoever waits is answered, once."""

import asyncio
from collections.abc import Iterable
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from server.engines.http.connection import MOST_HELD_BYTES, Connection, Deadlines
from server.engines.http.failures import TransportFailure

HELLO = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
STREAM = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


class Wire:
    """A transport that notes what is done to it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.unsent = 0
        self.reading = True
        self.aborted = False

    def write(self, piece: bytes) -> None:
        self.written.append(piece)

    def writelines(self, pieces: Iterable[bytes]) -> None:
        self.written += pieces

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def abort(self) -> None:
        self.aborted = True


def connected() -> tuple[Connection, Wire]:
    connection, wire = Connection(asyncio.get_running_loop(), set()), Wire()
    connection.connection_made(cast(Any, wire))
    return connection, wire


def asked(stream: bool = True) -> tuple[Connection, Wire]:
    connection, wire = connected()
    connection.begin(Deadlines(60, 60), stream)
    return connection, wire


def chunk(size: int) -> bytes:
    return b"%x\r\n%b\r\n" % (size, b"x" * size)


async def test_it_carries_another_request_after_a_whole_answer_alone() -> None:
    connection, wire = asked()
    connection.data_received(HELLO[:-1])
    assert not connection.release()
    assert (wire.aborted, connection.closed) == (True, True)
    connection, wire = asked()
    connection.data_received(HELLO)
    assert connection.take() == b"hello"
    assert connection.release()
    assert not wire.aborted


async def test_half_a_request_is_the_last() -> None:
    connection, wire = asked()
    wire.unsent = 1
    connection.data_received(HELLO)
    assert not connection.release()
    connection, wire = asked()
    connection.spoil()
    connection.data_received(HELLO)
    assert not connection.release()


async def test_bytes_for_nobody_end_it() -> None:
    connection, wire = connected()
    connection.data_received(b"H")
    assert (wire.aborted, connection.closed) == (True, True)


async def test_reading_stops_above_a_bound_and_goes_on_when_it_is_taken() -> None:
    connection, wire = asked()
    connection.data_received(STREAM + chunk(MOST_HELD_BYTES))
    assert wire.reading
    connection.data_received(chunk(1))
    assert not wire.reading
    assert len(connection.take()) == MOST_HELD_BYTES + 1
    assert wire.reading


async def test_a_whole_answer_is_read_without_stopping() -> None:
    connection, wire = asked(stream=False)
    connection.data_received(STREAM + chunk(2 * MOST_HELD_BYTES))
    assert wire.reading


async def test_time_for_silence_does_not_run_while_we_do_not_read() -> None:
    connection, wire = connected()
    connection.begin(Deadlines(60, 0.01), stream=True)
    connection.data_received(STREAM + chunk(MOST_HELD_BYTES + 1))
    await asyncio.sleep(0.05)
    assert not wire.aborted
    connection.take()
    await asyncio.sleep(0.05)
    assert wire.aborted


async def test_one_timer_serves_any_number_of_requests() -> None:
    loop, timers = asyncio.get_running_loop(), 0
    connection, _ = connected()
    set_timer = loop.call_at

    def counted(*args: Any) -> asyncio.TimerHandle:
        nonlocal timers
        timers += 1
        return set_timer(*args)

    loop.call_at = counted  # type: ignore[method-assign]
    for _ in range(1000):
        connection.begin(Deadlines(60, 30), stream=True)
        connection.data_received(HELLO)
        connection.take()
        assert connection.release()
    loop.call_at = set_timer  # type: ignore[method-assign]
    assert timers == 2  # that for silence is shorter
    connection.connection_lost(None)


EVENTS = st.one_of(
    st.tuples(
        st.just("data"), st.sampled_from([HELLO, HELLO[:20], HELLO[20:], STREAM, chunk(5), END, b"x", b"\r\n"])
    ),
    st.tuples(st.sampled_from(["pause", "resume", "lost", "reset"]), st.just(b"")),
)


@given(st.lists(EVENTS, max_size=12), st.booleans())
async def test_whatever_happens_whoever_waits_hears_of_the_end(
    events: list[tuple[str, bytes]], stream: bool
) -> None:
    connection, _ = asked(stream)

    async def read() -> bytes:
        body = b""
        while True:
            await connection.answered()
            if not connection.response.held:
                return body
            body += connection.take()

    reading, lost = asyncio.ensure_future(read()), False
    for kind, data in events:
        await asyncio.sleep(0)
        if lost:
            break
        if kind == "data":
            connection.data_received(data)
        elif kind == "pause":
            connection.pause_writing()
        elif kind == "resume":
            connection.resume_writing()
        elif kind in ("lost", "reset"):
            connection.connection_lost(None if kind == "lost" else ConnectionResetError())
            lost = True
    if not lost:
        connection.connection_lost(None)
    done, _ = await asyncio.wait({reading}, timeout=10)
    assert done, "it waits for ever"
    problem = reading.exception()
    assert problem is None or isinstance(problem, TransportFailure)
    assert not connection.release()
    if problem is None:
        assert connection.response.complete
