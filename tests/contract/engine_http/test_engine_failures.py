"""Our HTTP towards engines, on real sockets, when they fail, are silent, or callers leave: what it is called."""

import asyncio
import time

import pytest

from server.engines.client import EngineTimeouts
from server.engines.refusal import EngineAnsweredBadly, EngineRefused
from server.errors import (
    BusyError,
    DeadlineExceeded,
    EngineGone,
    EngineIncoherent,
    FirstTokenTimeout,
    GatewayError,
    IdleTimeout,
    TotalTimeout,
)
from tests.contract.engine_http.asking import (
    END,
    HELLO,
    OK,
    SSE,
    ask,
    chunk,
    engine_and_client,
    permit,
    ready,
    until,
)
from tests.fakes.raw_engine import Caller, saying_once


async def test_a_connection_that_the_engine_closed_meanwhile_costs_nobody_a_request() -> None:
    """It is closed the moment that the second request arrives: nobody can have known."""

    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.say(HELLO)
        await caller.request()
        if caller.number > 0:
            await caller.say(HELLO)

    async with engine_and_client(script) as (engine, to):
        assert [await ask(to), await ask(to)] == [b"hello", b"hello"]
        assert (len(engine.callers), len(engine.heads)) == (2, 3)


async def test_a_fresh_connection_that_is_closed_at_once_is_a_failure_and_not_tried_again() -> None:
    async def script(caller: Caller) -> None:
        await caller.request()

    async with engine_and_client(script) as (engine, to):
        with pytest.raises(EngineGone, match="before its answer"):
            await ask(to)
        assert len(engine.heads) == 1


async def test_a_request_whose_answer_has_begun_is_not_sent_again() -> None:
    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.say(HELLO)
        await caller.request()
        await caller.say(b"H")

    async with engine_and_client(script) as (engine, to):
        await ask(to)
        with pytest.raises(EngineGone, match="inside its answer"):
            await ask(to)
        assert len(engine.heads) == 2


FAILURES: dict[str, tuple[bytes, type[GatewayError]]] = {
    "no byte": (b"", EngineGone),
    "half a head": (HELLO[:20], EngineGone),
    "half a body": (HELLO[:-1], EngineGone),
    "half a stream": (SSE + chunk(b"data: a\n\n"), EngineGone),
    "half a chunk": (SSE + b"ff\r\nab", EngineGone),
    "noise": (b"\x00\x01\x02", EngineIncoherent),
    "two lengths": (OK + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello", EngineIncoherent),
    "a large head": (OK + b"a: " + b"b" * 40_000 + b"\r\n\r\n", EngineIncoherent),
    "another protocol": (b"HTTP/1.1 101 Go\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", EngineIncoherent),
    "a redirect": (b"HTTP/1.1 307 Go\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", EngineAnsweredBadly),
    "500": (b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\noh", EngineAnsweredBadly),
    "503": (b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", BusyError),
    "400": (b'HTTP/1.1 400 No\r\ncontent-length: 25\r\n\r\n{"error":{"message":"no"}}'[:-1], EngineRefused),
    "400, half": (b"HTTP/1.1 400 No\r\ncontent-length: 9\r\n\r\nno", EngineGone),
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", FAILURES)
async def test_every_failure_has_a_name_and_no_connection_outlives_it(name: str, stream: bool) -> None:
    data, kind = FAILURES[name]
    async with engine_and_client(saying_once(data)) as (engine, to):
        with pytest.raises(kind) as caught:
            await ask(to, ready(stream=stream))
        assert "127.0.0.1" not in caught.value.message
        await until(lambda: not to._http._connections._open)
        assert len(engine.heads) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_body_may_end_with_its_connection_but_not_with_a_reset(stream: bool) -> None:
    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.say(OK + b"\r\nhel", b"lo")
        if caller.number:
            await asyncio.sleep(0.1)  # else what was said goes with the reset
            caller.reset()

    async with engine_and_client(script) as (_, to):
        assert await ask(to, ready(stream=stream)) == b"hello"
        with pytest.raises(EngineGone):
            await ask(to, ready(stream=stream))


async def test_what_comes_while_nobody_asks_ends_the_connection() -> None:
    """A second response, made ready for whoever asks next, is nobody's."""

    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.say(HELLO)
        if caller.number == 0:
            await asyncio.sleep(0.05)
            await caller.say(HELLO.replace(b"hello", b"other"))
            await caller.left()
        await caller.request()
        await caller.say(HELLO)

    async with engine_and_client(script) as (engine, to):
        await ask(to)
        await until(lambda: engine.left == [0])
        assert await ask(to) == b"hello"
        assert len(engine.callers) == 2


@pytest.mark.parametrize("behind", [b"x", HELLO, b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_what_stands_behind_an_answer_ends_the_connection(behind: bytes) -> None:
    async with engine_and_client(saying_once(HELLO + behind)) as (engine, to):
        assert [await ask(to), await ask(to)] == [b"hello", b"hello"]
        assert len(engine.callers) == 2


async def test_an_answer_to_what_was_never_asked_is_not_taken() -> None:
    async def script(caller: Caller) -> None:
        await caller.say(HELLO.replace(b"hello", b"other"))
        await caller.request()
        await caller.say(HELLO)

    async with engine_and_client(script) as (_, to):
        with pytest.raises((EngineGone, EngineIncoherent)):
            # Large: the answer is there before the request is.
            await ask(to, ready((b"{", memoryview(bytes(20_000_000)), b"}")))


async def test_an_engine_that_refuses_in_the_middle_of_a_body_is_heard() -> None:
    async def script(caller: Caller) -> None:
        await caller.reader.readuntil(b"\r\n\r\n")
        await caller.say(b'HTTP/1.1 413 No\r\ncontent-length: 37\r\n\r\n{"error":{"message":"it is too big"}}')
        await caller.left()

    async with engine_and_client(script) as (engine, to):
        with pytest.raises(EngineRefused, match="too big"):
            await ask(to, ready((memoryview(bytes(50_000_000)),)))
        await until(lambda: engine.left == [0])
        assert not to._http._connections._idle


UP_TO_ITS_END = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
SILENCES: dict[str, tuple[EngineTimeouts, tuple[bytes, ...], type[GatewayError]]] = {
    "no answer": (EngineTimeouts(5, 0.1, 20, 60), (), FirstTokenTimeout),
    "a head alone": (EngineTimeouts(5, 0.1, 20, 60), (SSE,), FirstTokenTimeout),
    "interim alone": (EngineTimeouts(5, 0.1, 20, 60), (b"HTTP/1.1 102 Wait\r\n\r\n",), FirstTokenTimeout),
    "silence": (EngineTimeouts(5, 20, 0.1, 60), (SSE, chunk(b"data: a\n\n")), IdleTimeout),
    "silence, up to its end": (EngineTimeouts(5, 20, 0.1, 60), (UP_TO_ITS_END, b"data: a\n\n"), IdleTimeout),
    "all of it": (EngineTimeouts(5, 20, 20, 0.1), (SSE, chunk(b"data: a\n\n")), TotalTimeout),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", SILENCES)
async def test_each_deadline_is_told_by_its_own_name_and_ends_the_engines_work(name: str, stream: bool) -> None:
    timeouts, said, kind = SILENCES[name]

    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.say(*said)
        await caller.left()

    async with engine_and_client(script, timeouts) as (engine, to):
        with pytest.raises(kind):
            await ask(to, ready(stream=stream))
        await until(lambda: engine.left == [0])


@pytest.mark.parametrize("stream", [False, True])
async def test_the_requests_own_deadline_counts_where_it_comes_first(stream: bool) -> None:
    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.say(SSE, chunk(b"data: a\n\n"))
        await caller.left()

    async with engine_and_client(script) as (engine, to):
        with pytest.raises(DeadlineExceeded):
            await ask(to, ready(stream=stream, deadline=time.monotonic() + 0.1))
        await until(lambda: engine.left == [0])
        with pytest.raises(DeadlineExceeded):
            await ask(to, ready(stream=stream, deadline=time.monotonic() - 1))


async def test_a_stream_that_goes_on_is_not_ended_by_the_time_for_silence() -> None:
    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.say(SSE)
        for _ in range(20):
            await asyncio.sleep(0.02)
            await caller.say(chunk(b"data: a\n\n"))
        await caller.say(END)

    async with engine_and_client(script, EngineTimeouts(5, 0.3, 0.3, 60)) as (_, to):
        assert (await ask(to, ready(stream=True))).count(b"data: a") == 20


async def test_a_deadline_of_one_request_is_not_the_next_ones() -> None:
    async def script(caller: Caller) -> None:
        while body := await caller.request():
            await asyncio.sleep(0.3 if body == b"slow" else 0)
            await caller.say(HELLO)

    async with engine_and_client(script) as (engine, to):
        await ask(to, ready(deadline=time.monotonic() + 0.15))
        assert await ask(to, ready((b"slow",))) == b"hello"
        assert len(engine.callers) == 1


@pytest.mark.parametrize("said", [(), (SSE,), (SSE, chunk(b"data: a\n\n"))])
@pytest.mark.parametrize("stream", [False, True])
async def test_whoever_leaves_ends_the_engines_work(said: tuple[bytes, ...], stream: bool) -> None:
    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.say(*said)
        await caller.left()

    async with engine_and_client(script) as (engine, to):
        task = asyncio.ensure_future(ask(to, ready(stream=stream)))
        await until(lambda: len(engine.heads) == 1)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: engine.left == [0])
        assert not to._http._connections._idle


async def test_leaving_the_block_early_ends_the_engines_work() -> None:
    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.say(SSE, chunk(b"data: a\n\n"))
        await caller.left()

    async with engine_and_client(script) as (engine, to):
        async with to.send(ready(stream=True), permit()) as answer:
            assert await anext(answer.frames) == b"data: a\n\n"
        await until(lambda: engine.left == [0])
        with pytest.raises(StopAsyncIteration):
            await anext(answer.frames)
