"""Our HTTP towards engines, on real sockets: what is sent, what is kept, what every failure is called."""

import asyncio
import gc
import socket
import ssl
import time
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from server.domain import Cost, Payload, ReadyRequest, Terms
from server.engines.client import EngineClient, EngineTimeouts
from server.engines.http import connections
from server.engines.http.connection import MOST_HELD_BYTES
from server.engines.refusal import EngineAnsweredBadly, EngineRefused
from server.errors import (
    AnswerTooLarge,
    BusyError,
    DeadlineExceeded,
    EngineConnectTimeout,
    EngineGone,
    EngineIncoherent,
    EngineUnreachable,
    FirstTokenTimeout,
    GatewayError,
    IdleTimeout,
    TotalTimeout,
)
from server.loop_turns import LoopTurns
from server.permit import Permit, issue
from tests.fakes.raw_engine import Caller, RawEngine, Script, raw_engine, saying, saying_once

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
HELLO = OK + b"content-length: 5\r\n\r\nhello"
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
PATIENT = EngineTimeouts(5, 20, 20, 60)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@asynccontextmanager
async def client(url: str, timeouts: EngineTimeouts = PATIENT, **options: Any) -> AsyncIterator[EngineClient]:
    made = EngineClient("engine-0", url, timeouts, LoopTurns(4), **options)
    try:
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def engine_and_client(
    script: Script, timeouts: EngineTimeouts = PATIENT
) -> AsyncIterator[tuple[RawEngine, EngineClient]]:
    async with raw_engine(script) as engine, client(engine.url, timeouts) as made:
        yield engine, made


def ready(payload: Payload = (b"{}",), stream: bool = False, deadline: float | None = None) -> ReadyRequest:
    headers = {"content-type": "application/json", "x-request-id": "req-1"}
    terms = Terms(deadline=deadline)
    return ReadyRequest("chat", "demo", stream, Cost(0, 0, 0), "a", payload, headers, terms=terms)


def permit() -> Permit:
    made = issue(Cost(0, 0, 0))
    made.use()
    return made


async def ask(to: EngineClient, request: ReadyRequest | None = None) -> bytes:
    """The whole answer. A test that hangs is a failure."""
    async with asyncio.timeout(30), to.send(request or ready(), permit()) as answer:
        return b"".join([frame async for frame in answer.frames])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_request_is_its_head_and_its_body_and_nothing_else() -> None:
    async with engine_and_client(saying(HELLO)) as (engine, to):
        assert await ask(to, ready((b'{"a":', memoryview(b'"b"'), b"}"))) == b"hello"
    assert engine.bodies == [b'{"a":"b"}']
    host = engine.url.removeprefix("http://").encode()
    assert engine.heads[0].split(b"\r\n") == [
        b"POST /v1/chat/completions HTTP/1.1",
        b"host: " + host,
        b"accept: */*",
        b"content-type: application/json",
        b"x-request-id: req-1",
        b"content-length: 9",
        b"",
        b"",
    ]


async def test_what_stands_in_an_engines_url_goes_with_every_request() -> None:
    async with raw_engine(saying(HELLO)) as engine:
        url = engine.url.replace("http://", "http://me:p%40ss@") + "/at/engines/"
        async with client(url) as to:
            await ask(to)
            await to.health()
    assert [head.split(b"\r\n")[0] for head in engine.heads] == [
        b"POST /at/engines/v1/chat/completions HTTP/1.1",
        b"GET /at/engines/health HTTP/1.1",
    ]
    assert all(b"\r\nauthorization: Basic bWU6cEBzcw==\r\n" in head for head in engine.heads)


async def test_a_header_that_would_end_its_line_is_a_bug_and_never_sent() -> None:
    request = ready()
    request.headers = {"x-request-id": "a\r\nx: y"}
    async with engine_and_client(saying(HELLO)) as (engine, to):
        with pytest.raises(ValueError, match="printable"):
            to.send(request, permit())
    assert engine.heads == []


async def test_a_connection_is_used_again_the_latest_first() -> None:
    async with engine_and_client(saying(HELLO)) as (engine, to):
        await asyncio.gather(*(ask(to) for _ in range(3)))
        opened = len(engine.callers)
        for _ in range(10):
            await ask(to)
        assert len(engine.callers) == opened <= 3
        assert len(engine.heads) == 13


async def test_a_connection_that_was_idle_for_long_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "KEEP_IDLE_S", 0.05)
    async with engine_and_client(saying(HELLO)) as (engine, to):
        await ask(to)
        await until(lambda: len(to._http._connections._open) == 0)
        await ask(to)
        assert len(engine.callers) == 2


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


async def test_a_slow_reader_holds_back_the_engine_and_not_our_memory() -> None:
    said = 0

    async def script(caller: Caller) -> None:
        nonlocal said
        await caller.request()
        await caller.say(SSE)
        for _ in range(2000):
            await caller.say(chunk(b"x" * 65_536))
            said += 65_536
        await caller.say(END)

    async with engine_and_client(script) as (_, to):
        taken = most = 0
        async with to.send(ready(stream=True), permit()) as answer:
            await anext(answer.frames)
            stopped_at = -1
            while stopped_at != said:  # until the engine is held back
                stopped_at = said
                await asyncio.sleep(0.2)
            assert said < 2000 * 65_536
            async for frame in answer.frames:
                taken += len(frame)
                most = max(most, len(frame))
        assert said == 2000 * 65_536
        assert taken > 1900 * 65_536
        assert most <= MOST_HELD_BYTES + 1024**2  # and what one read brings


async def test_frames_are_what_came_and_those_that_waited_come_together() -> None:
    events = [chunk(b"data: %d\n\n" % number) for number in range(5)]
    go = asyncio.Event()

    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.say(SSE + events[0])
        await go.wait()
        await caller.say(*events[1:], END)

    async with engine_and_client(script) as (_, to), to.send(ready(stream=True), permit()) as answer:
        assert (answer.media_type, answer.whole) == ("text/event-stream", None)
        assert await anext(answer.frames) == b"data: 0\n\n"
        go.set()
        await asyncio.sleep(0.1)
        assert await anext(answer.frames) == b"".join(b"data: %d\n\n" % number for number in range(1, 5))
        with pytest.raises(StopAsyncIteration):
            await anext(answer.frames)


async def test_a_whole_answer_is_there_at_once_and_its_connection_free_again() -> None:
    async with engine_and_client(saying(HELLO[:-3], HELLO[-3:])) as (engine, to):
        async with to.send(ready(), permit()) as answer:
            assert answer.whole == b"hello"
            assert await ask(to) == b"hello"
            assert [frame async for frame in answer.frames] == [b"hello"]
        assert len(engine.callers) == 1


async def test_whole_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.engines.client.MOST_ANSWER_BYTES", 100_000)

    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.say(SSE)
        while True:
            await caller.say(chunk(b"x" * 10_000))

    async with engine_and_client(script) as (_, to):
        with pytest.raises(AnswerTooLarge):
            await ask(to)
        assert not to._http._connections._idle


async def test_large_bodies_arrive_as_they_were() -> None:
    body = bytes(range(256)) * 40_000
    pieces: Payload = (b'{"a":"', memoryview(body), b'","b":"', memoryview(bytearray(body))[5:], b'"}')
    async with engine_and_client(saying(HELLO)) as (engine, to):
        await asyncio.gather(*(ask(to, ready(pieces)) for _ in range(6)))
    assert engine.bodies == [b"".join(pieces)] * 6


class Buffer(bytearray):
    """Bytes whose end can be watched."""


async def test_what_could_not_be_sent_is_let_go_when_the_caller_leaves() -> None:
    async def script(caller: Caller) -> None:
        await caller.reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(60)

    buffer = Buffer(50_000_000)
    gone = weakref.ref(buffer)
    request = ready((memoryview(buffer),))
    del buffer
    async with engine_and_client(script) as (_, to):
        task = asyncio.ensure_future(ask(to, request))
        await asyncio.sleep(0.3)
        task.cancel()
        await asyncio.wait({task})
        request.forget()
        del task
        await asyncio.sleep(0.05)
        gc.collect()
        assert gone() is None


async def test_probes_read_what_they_ask_for() -> None:
    async def script(caller: Caller) -> None:
        while True:
            body = await caller.request()
            head = caller.engine.heads[-1]
            if b"/v1/models" in head:
                cards = b'{"data":[{"id":"demo","max_model_len":4096}]}'
                await caller.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(cards), cards))
            else:
                assert b"/health" in head or b'"max_tokens":1' in body
                await caller.say(HELLO)

    async with engine_and_client(script) as (engine, to):
        assert await to.health() == "healthy"
        assert {name: card.context for name, card in (await to.models()).items()} == {"demo": 4096}
        assert await to.can_answer("demo")
        assert len(engine.callers) == 1


@pytest.mark.parametrize("said", [b"", b"noise", b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"])
async def test_probes_of_a_broken_engine_say_so(said: bytes) -> None:
    async with engine_and_client(saying_once(said)) as (_, to):
        assert await to.health() != "healthy"
        assert not await to.can_answer("demo")


async def test_nobody_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        for host in ("127.0.0.1", "localhost", "[::1]"):
            async with client(f"http://{host}:{unused.getsockname()[1]}") as to:
                with pytest.raises(EngineUnreachable):
                    await ask(to)
                assert await to.health() != "healthy"
    async with client("http://no-such-engine.invalid:8000") as to:
        with pytest.raises(EngineUnreachable):
            await ask(to)


async def test_an_engine_that_takes_no_connection_is_given_up_in_time() -> None:
    """A full queue of connections that nobody accepts."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        async with client(f"http://127.0.0.1:{listener.getsockname()[1]}", EngineTimeouts(0.2, 20, 20, 60)) as to:
            with pytest.raises(EngineConnectTimeout):
                await ask(to)
            with pytest.raises(DeadlineExceeded):
                await ask(to, ready(deadline=time.monotonic() + 0.05))
        for filler in fillers:
            filler.close()


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
async def test_an_engine_may_have_an_address_of_either_kind_or_a_name() -> None:
    try:
        async with raw_engine(saying(HELLO), "::1") as engine, client(engine.url) as to:
            assert await ask(to) == b"hello"
            assert b"\r\nhost: [::1]:" in engine.heads[0]
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")


async def test_a_name_is_looked_up() -> None:
    async with raw_engine(saying(HELLO)) as engine, client(engine.url.replace("127.0.0.1", "localhost")) as to:
        assert await ask(to) == b"hello"
        assert b"\r\nhost: localhost:" in engine.heads[0]


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def tls_of(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.mark.parametrize("stream", [False, True])
async def test_https_is_spoken_to_whom_a_named_authority_vouches_for(
    authority: trustme.CA, tmp_path: Path, stream: bool
) -> None:
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(trusted))
    body = memoryview(bytes(3_000_000))
    async with raw_engine(saying(HELLO), tls=tls_of(authority, "localhost")) as engine:
        named = engine.url.replace("127.0.0.1", "localhost")
        async with client(named, ca_file=trusted) as to:
            assert await ask(to, ready((body,), stream)) == await ask(to, ready(stream=stream)) == b"hello"
            assert len(engine.callers) == 1
        async with client(engine.url, ca_file=trusted) as to:  # it is not who it should be
            with pytest.raises(EngineUnreachable):
                await ask(to)
        async with client(named) as to:  # nobody we know vouches for it
            with pytest.raises(EngineUnreachable):
                await ask(to)
    assert [len(each) for each in engine.bodies] == [3_000_000, 2]


async def test_what_speaks_no_tls_is_no_https_engine() -> None:
    async def script(caller: Caller) -> None:
        await caller.say(HELLO)

    async with raw_engine(script) as engine, client(engine.url.replace("http:", "https:")) as to:
        with pytest.raises(EngineUnreachable):
            await ask(to)


async def test_closing_the_client_cuts_off_everything() -> None:
    async def script(caller: Caller) -> None:
        await caller.request()
        if caller.number == 0:
            await caller.say(HELLO)
        await caller.left()

    async with engine_and_client(script) as (engine, to):
        await ask(to)
        waiting = [asyncio.ensure_future(ask(to)) for _ in range(3)]
        await until(lambda: len(engine.heads) == 3)
        await to.close()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} <= {EngineGone, EngineUnreachable}
        await until(lambda: len(engine.left) == len(engine.callers))
        with pytest.raises(EngineUnreachable):
            await ask(to)
