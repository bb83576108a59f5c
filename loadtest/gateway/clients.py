"""`python -m loadtest.gateway.clients`: what one request to an engine costs with our client and with aiohttp's.

Both ask the stub of `make bench-gateway` in turns; told is the CPU time of this process, which does nothing else.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from pkgutil import resolve_name
from typing import Any

import aiohttp
import uvloop

from loadtest.gateway.bodies import make_body
from loadtest.gateway.processes import stub

ROUNDS = 5
STREAMS = 16
LARGE = make_body(b"\xff" * 4_000_000)
HEADERS = {"content-type": "application/json", "x-request-id": "req-0123456789abcdef0123456789abcdef"}

Payload = tuple[bytes | memoryview, ...]
# Sends a payload, reads the answer, and says in how many pieces it came.
Ask = Callable[[Payload, bool], Awaitable[int]]


def ours(client: Any) -> Ask:
    # By their names: programs do not import each other.
    make_request, make_cost = (resolve_name(f"server.domain:{name}") for name in ("ReadyRequest", "Cost"))
    issue = resolve_name("server.permit:issue")

    async def ask(payload: Payload, stream: bool) -> int:
        cost = make_cost(0, 0, 0)
        permit = issue(cost)
        permit.use()
        request = make_request("chat", "demo", stream, cost, "", payload, HEADERS)
        async with client.send(request, permit) as answer:
            if answer.whole is not None:
                return 1
            return len([frame async for frame in answer.frames])

    return ask


def aiohttps(session: aiohttp.ClientSession) -> Ask:
    async def ask(payload: Payload, stream: bool) -> int:
        async with session.post("v1/chat/completions", data=b"".join(payload), headers=HEADERS) as response:
            if not stream:
                await response.read()
                return 1
            return len([frame async for frame in response.content.iter_any()])

    return ask


def make_session(url: str) -> aiohttp.ClientSession:
    """As the gateway had it."""
    return aiohttp.ClientSession(
        base_url=url + "/",
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=3),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=120),
        read_bufsize=256 * 1024,
    )


async def microseconds(ask: Ask, payload: Payload, count: int, at_once: int, stream: bool) -> float:
    """CPU a piece of an answer; of answers that are not streamed, a request."""
    left, pieces = iter(range(count)), 0

    async def work() -> None:
        nonlocal pieces
        for _ in left:
            came = await ask(payload, stream)
            pieces += came

    began = time.process_time()
    await asyncio.gather(*(work() for _ in range(at_once)))
    return (time.process_time() - began) * 1e6 / pieces


async def measure(url: str) -> None:
    timeouts = resolve_name("server.engines.client:EngineTimeouts")(5, 300, 120, 3600)
    turns = resolve_name("server.loop_turns:LoopTurns")(4)
    client = resolve_name("server.engines.client:EngineClient")("engine-0", url, timeouts, turns)
    async with make_session(url) as session:
        await compare({"aiohttp": aiohttps(session), "ours": ours(client)})
    await client.close()


async def compare(subjects: dict[str, Ask]) -> None:
    small = (make_body(None),)
    large: Payload = (LARGE[:1000], memoryview(LARGE)[1000:-100], LARGE[-100:])
    cases = {
        "a small request, one at a time": (small, 2000, 1, False),
        "a small request, 64 at once": (small, 4000, 64, False),
        "a body of 5.3 MB": (large, 32, 1, False),
        "a token, 16 streams": ((make_body(None, stream=True),), STREAMS, STREAMS, True),
    }
    print("| microseconds of CPU | aiohttp | ours |\n| --- | --- | --- |")
    for name, (payload, count, at_once, stream) in cases.items():
        took: dict[str, list[float]] = {subject: [] for subject in subjects}
        for _ in range(ROUNDS):
            for subject, ask in subjects.items():
                took[subject].append(await microseconds(ask, payload, count, at_once, stream))
        cells = " | ".join(f"{statistics.median(each):.3g}" for each in took.values())
        print(f"| {name} | {cells} |", flush=True)


def main() -> None:
    with stub() as port:
        uvloop.run(measure(f"http://127.0.0.1:{port}"))


if __name__ == "__main__":
    main()
