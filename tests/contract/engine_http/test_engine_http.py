"""Our HTTP towards engines, on real sockets: what is sent, what is kept, what comes back."""

import asyncio
import gc
import socket
import ssl
import time
import weakref
from pathlib import Path

import pytest
import trustme

from server.domain import Payload
from server.engines.client import EngineTimeouts
from server.engines.http import connections
from server.engines.http.connection import MOST_HELD_BYTES
from server.errors import (
    AnswerTooLarge,
    DeadlineExceeded,
    EngineConnectTimeout,
    EngineGone,
    EngineUnreachable,
)
from tests.contract.engine_http.asking import (
    END,
    HELLO,
    SSE,
    ask,
    chunk,
    client,
    engine_and_client,
    permit,
    ready,
    until,
)
from tests.fakes.raw_engine import Caller, raw_engine, saying, saying_once


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


def has_ipv6_loopback() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6_loopback(), reason="SKIPPED: this machine has no IPv6 loopback")
async def test_an_engine_may_have_an_address_of_either_kind_or_a_name() -> None:
    async with raw_engine(saying(HELLO), "::1") as engine, client(engine.url) as to:
        assert await ask(to) == b"hello"
        assert b"\r\nhost: [::1]:" in engine.heads[0]


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
