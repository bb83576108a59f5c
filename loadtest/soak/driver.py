"""The soak's callers, a process of its own: told on its standard input what to do, line by line of JSON.

`{"callers": N, "for_s": S}` is a closed loop, answered with the visits a second; `{"rate": R, "for_s": S}` an open
one whose visits come at their times whatever the server does, latencies counting from these; answered with the
windows.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict

import aiohttp
import orjson
import uvloop

from loadtest.driving.answers import open_session
from loadtest.driving.caller import refusal_of
from loadtest.driving.stream import Heard, ProtocolError
from loadtest.soak.mix import ANSWERED, LEFT, Ask, Mix, Visit
from loadtest.soak.tally import Tally

ANSWER_S = 120
MOST_VISITS = 256  # under way


class Callers:
    def __init__(self, session: aiohttp.ClientSession, url: str, mix: Mix) -> None:
        self._session, self._url, self._mix = session, url, mix

    async def closed(self, callers: int, for_s: float) -> dict[str, object]:
        tally, began = Tally(), time.perf_counter()
        visits = 0

        async def call() -> None:
            nonlocal visits
            while time.perf_counter() < began + for_s:
                await self._visit(self._mix.draw(), tally, began, time.perf_counter())
                visits += 1

        await asyncio.gather(*(call() for _ in range(callers)))
        return {"per_s": visits / (time.perf_counter() - began), "unexpected": tally.unexpected()}

    async def open(self, rate: float, for_s: float) -> dict[str, object]:
        tally, began = Tally(), time.perf_counter()
        gaps, due = random.Random(rate), began
        places = asyncio.Semaphore(MOST_VISITS)
        async with asyncio.TaskGroup() as visits:
            while (due := due + gaps.expovariate(rate)) < began + for_s:
                visit = self._mix.draw()
                await asyncio.sleep(due - time.perf_counter())
                await places.acquire()
                tally.late(time.perf_counter() - due)
                visits.create_task(self._visit(visit, tally, began, due)).add_done_callback(
                    lambda _: places.release()
                )
        windows = [asdict(window) for window in tally.windows()]
        return {
            "windows": windows,
            "ratios": tally.ratios(for_s),
            "unexpected": tally.unexpected(),
            "late_ms": tally.late_ms(),
        }

    async def _visit(self, visit: Visit, tally: Tally, began: float, due: float) -> None:
        for ask in visit.asks:
            code, first = await self._ask(ask)
            now = time.perf_counter()
            tally.note(now - began, visit.kind, code, first - due if first else None, now - due)
            due = now

    async def _ask(self, ask: Ask) -> tuple[str, float | None]:
        """What became of it, and when a stream's first words came. The only place where errors become codes."""
        heard = Heard()
        try:
            async with asyncio.timeout(ANSWER_S):
                code = await self._exchange(ask, heard)
        except TimeoutError:
            code = "timeout"
        except ProtocolError:
            code = "protocol"
        except (aiohttp.ClientError, OSError) as problem:
            code = f"connection ({type(problem).__name__})"
        return code, heard.token_s[0] if heard.token_s else None

    async def _exchange(self, ask: Ask, heard: Heard) -> str:
        body = orjson.dumps(ask.body) if isinstance(ask.body, dict) else ask.body
        headers = {"authorization": f"Bearer {ask.key}"} if ask.key else {}
        headers["content-type"] = "application/json"
        method = "GET" if body is None else "POST"
        async with self._session.request(method, self._url + ask.path, data=body, headers=headers) as response:
            if response.status != 200:
                return await refusal_of(response)
            if not ask.streams:
                await response.read()
                return ANSWERED
            async for data in response.content.iter_any():
                if ask.leave_after is not None and len(heard.token_s) >= ask.leave_after:
                    response.close()
                    return LEFT
                heard.feed(data, time.perf_counter())
        return heard.code or (ANSWERED if heard.done else "cut")


async def serve(url: str, pictures: str) -> None:
    mix = Mix(1, pictures)
    while line := await asyncio.to_thread(sys.stdin.readline):
        asked = json.loads(line)
        async with open_session(aiohttp.ClientTimeout(total=None, sock_connect=30)) as session:
            callers = Callers(session, url, mix)
            do: Callable[..., Awaitable[dict[str, object]]] = callers.closed if "callers" in asked else callers.open
            print(json.dumps(await do(**asked)), flush=True)


if __name__ == "__main__":
    uvloop.run(serve(*sys.argv[1:]))
