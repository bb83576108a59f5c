import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from server.engine.inside.fovea_leaving import Leaving

CHAT = "/v1/chat/completions"


class Engine:
    """Answers once it may; notes when it is told to stop."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.stops = 0
        self.begun = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.method == "POST":
            self.begun.set()
            await self.may.wait()
        await PlainTextResponse("served")(scope, receive, send)

    def stop(self, *_: object) -> None:
        self.stops += 1


@pytest.fixture
def engine() -> Iterator[Engine]:
    numbers = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    made = Engine()
    signal.signal(signal.SIGTERM, made.stop)
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


@asynccontextmanager
async def served(engine: Engine) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(Leaving(engine))
    async with httpx2.AsyncClient(transport=transport, base_url="http://engine") as http:
        yield http


async def test_an_engine_that_leaves_is_not_healthy_and_serves_on(engine: Engine) -> None:
    engine.may.set()
    async with served(engine) as http:
        assert (await http.get("/health")).status_code == 200
        signal.raise_signal(signal.SIGUSR1)
        assert (await http.get("/health")).status_code == 503
        assert (await http.post(CHAT)).text == "served"
        assert engine.stops == 0


async def test_one_that_takes_no_more_says_so_and_stops_when_its_last_request_has_ended(engine: Engine) -> None:
    async with served(engine) as http:
        running = [asyncio.create_task(http.post(CHAT)) for _ in range(2)]
        await engine.begun.wait()
        signal.raise_signal(signal.SIGUSR2)
        refused = await http.post(CHAT)
        assert (refused.status_code, refused.json()["error"]["message"]) == (503, "The engine is stopping.")
        assert (await http.get("/health")).status_code == 503
        assert (await http.get("/metrics")).text == "served"
        assert engine.stops == 0
        engine.may.set()
        assert [(await each).text for each in running] == ["served", "served"]
        assert engine.stops == 1


async def test_one_that_has_nothing_to_do_stops_at_once(engine: Engine) -> None:
    async with served(engine):
        signal.raise_signal(signal.SIGUSR2)
        assert engine.stops == 1


async def test_one_whose_last_caller_has_left_stops(engine: Engine) -> None:
    async with served(engine) as http:
        running = asyncio.create_task(http.post(CHAT))
        await engine.begun.wait()
        signal.raise_signal(signal.SIGUSR2)
        running.cancel()
        await asyncio.wait([running])
        assert engine.stops == 1
