"""What grows around a gateway. Each scene makes one gateway a size, filled beforehand, and says how it is measured.

The gateways of a scene are there at the same time; all their work is the same but for what has grown.
"""

import asyncio
import hashlib
import itertools
import json
import random
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from loadtest.gateway.caller import make_request
from loadtest.scaling.bodies import PICTURES, data_url, make_chat
from loadtest.scaling.callers import Callers, Streams
from loadtest.scaling.processes import Gateway, gateway
from loadtest.scaling.turns import Subject

CALLERS = 4
LIMITS = dict.fromkeys(("requests", "images", "image_tokens", "tokens"), 10**9) | {"places": 10**6}
# Every picture is drawn anew the first time, as small as this, and then found in the cache of what was drawn.
DRAWN = {"FOVEA_IMAGES__LOW_DETAIL_PIXELS": "256"}
FETCHED = {"FOVEA_IMAGES__ALLOW_HTTP": "true", "FOVEA_IMAGES__ALLOW_PRIVATE_ADDRESSES": "true"}
AT_ENGINES = 4  # requests at once, while others wait in line
MANY = "4096"


@dataclass(frozen=True, slots=True)
class Stage:
    """What every scene has: `ports` of engines, `sizes`, `requests` a block, a folder, and what ends with it."""

    stack: ExitStack
    runner: asyncio.Runner
    ports: Sequence[int]
    sizes: Sequence[int]
    requests: int
    folder: Path

    def gateway(self, engines: Sequence[int], **settings: str) -> Gateway:
        return self.stack.enter_context(gateway(engines, **settings))

    def callers(self, subject: Gateway, count: int = CALLERS) -> Callers:
        return Callers(self.runner, subject.port, count)


Scene = Callable[[Stage], list[Subject]]


def cost_of(subject: Gateway, work: Callable[[], object], units: float) -> float:
    """Microseconds of CPU of the gateway's process."""
    began_s = subject.cpu_s()
    work()
    return (subject.cpu_s() - began_s) * 1e6 / units


def asking(
    size: int, subject: Gateway, callers: Callers, requests: Callable[[], Iterable[bytes]], count: int
) -> Subject:
    def measure() -> float:
        return cost_of(subject, lambda: callers.send(requests()), count)

    return Subject(size, measure, subject.resident_mb)


def seen(stage: Stage, settings: dict[str, str], url_of: Callable[[int], str], detail: str) -> list[Subject]:
    """Pictures that were all seen before; a block asks for any of them, in an order drawn by chance."""
    subjects = []
    for size in stage.sizes:
        subject = stage.gateway(stage.ports[:2], **settings)
        callers = stage.callers(subject)
        known = [make_request(make_chat([url_of(number)], detail=detail)) for number in range(size)]
        callers.send(known)
        chance = random.Random(size)

        def some(known: list[bytes] = known, chance: random.Random = chance) -> list[bytes]:
            return chance.choices(known, k=stage.requests)

        subjects.append(asking(size, subject, callers, some, stage.requests))
    return subjects


def pictures(stage: Stage) -> list[Subject]:
    return seen(stage, DRAWN, data_url, "low")


def fetched(stage: Stage) -> list[Subject]:
    host = f"http://127.0.0.1:{stage.ports[0]}{PICTURES.decode()}"
    return seen(stage, FETCHED, lambda number: f"{host}{number}", "high")


def streams(stage: Stage) -> list[Subject]:
    """An upstream each, whose streams are open all the time; CPU of one token."""
    subjects = []
    tokens = 5 * stage.requests
    for port, size in zip(stage.ports, stage.sizes, strict=False):
        subject = stage.gateway([port])
        open_ones = Streams(stage.runner, subject.port, port, make_request(make_chat(stream=True)), size)

        def measure(subject: Gateway = subject, open_ones: Streams = open_ones) -> float:
            return cost_of(subject, lambda: open_ones.send_tokens(tokens), tokens)

        subjects.append(Subject(size, measure, subject.resident_mb))
    return subjects


def tenants(stage: Stage) -> list[Subject]:
    """A key and limits for each; requests go round, so that all of them have asked before."""
    subjects = []
    for size in stage.sizes:
        keys = [f"fv-{number:040d}" for number in range(size)]
        path = stage.folder / f"keys-{size}.json"
        path.write_text(json.dumps({"keys": [entry_of(key) for key in keys]}))
        limits = json.dumps(LIMITS)
        subject = stage.gateway(
            stage.ports[:1],
            FOVEA_AUTH__KEYS_FILE=str(path),
            FOVEA_LIMITS__KEY=limits,
            FOVEA_LIMITS__TENANT=limits,
        )
        callers = stage.callers(subject)
        chat = make_chat()
        callers.send([make_request(chat, key) for key in keys])
        turn = itertools.cycle([make_request(chat, key) for key in keys])

        def some(turn: "itertools.cycle[bytes]" = turn) -> Iterable[bytes]:
            return itertools.islice(turn, stage.requests)

        subjects.append(asking(size, subject, callers, some, stage.requests))
    return subjects


def entry_of(key: str) -> dict[str, object]:
    digest = hashlib.sha256(key.encode()).hexdigest()
    return {"hash": f"sha256:{digest}", "tenant": f"tenant-{key[-5:]}", "scopes": ["inference"], "limits": LIMITS}


def engines(stage: Stage) -> list[Subject]:
    """A request with a picture: an engine is chosen by it, and it is counted whether that is the picture's home."""
    known = [make_request(make_chat([data_url(number)], detail="high")) for number in range(100)]
    subjects = []
    for size in stage.sizes:
        subject = stage.gateway(stage.ports[:size])
        callers = stage.callers(subject)
        callers.send(known)

        def measure(subject: Gateway = subject, callers: Callers = callers) -> float:
            callers.send(known)  # connections to engines are closed while others have their turn, and made again
            count = 2 * len(known)
            return cost_of(subject, lambda: callers.send(2 * known), count)

        subjects.append(Subject(size, measure, subject.resident_mb))
    return subjects


def looks(stage: Stage) -> list[Subject]:
    """A gateway that nobody asks: CPU of one look at one engine, of which there is one in each `POLL_S`."""
    poll_s = 0.5
    subjects = []
    for size in stage.sizes:
        subject = stage.gateway(stage.ports[:size], FOVEA_ENGINES__POLL_S=str(poll_s))

        def measure(subject: Gateway = subject, size: int = size) -> float:
            return cost_of(subject, lambda: time.sleep(2 * poll_s), 2 * size)

        subjects.append(Subject(size, measure, subject.resident_mb))
    return subjects


def waiting(stage: Stage) -> list[Subject]:
    """So many requests wait in line while AT_ENGINES are served."""
    subjects = []
    request = make_request(make_chat())
    for size in stage.sizes:
        subject = stage.gateway(
            stage.ports[:1],
            FOVEA_ADMISSION__MAX_RUNNING=str(AT_ENGINES),
            FOVEA_ADMISSION__MAX_WAITING=MANY,
            FOVEA_ADMISSION__WAIT_TIMEOUT_S="600",
        )
        callers = stage.callers(subject, size + AT_ENGINES)
        # All come at once at first, and at last nobody waits any more: long enough that neither says much.
        count = max(stage.requests, 4 * size)

        def some(count: int = count) -> list[bytes]:
            return [request] * count

        subjects.append(asking(size, subject, callers, some, count))
    return subjects


def contents(stage: Stage, chat_of: Callable[[int], bytes]) -> list[Subject]:
    """One gateway, whose requests grow; CPU of one of the things that they hold."""
    subject = stage.gateway(stage.ports[:1], FOVEA_IMAGES__MAX_COUNT=MANY)
    callers = stage.callers(subject)
    subjects = []
    for size in stage.sizes:
        request = make_request(chat_of(size))
        count = max(CALLERS, stage.requests // size)

        def measure(request: bytes = request, count: int = count, size: int = size) -> float:
            return cost_of(subject, lambda: callers.send([request] * count), count * size)

        subjects.append(Subject(size, measure))
    return subjects


def messages(stage: Stage) -> list[Subject]:
    return contents(stage, lambda size: make_chat(messages=size))


def together(stage: Stage) -> list[Subject]:
    return contents(stage, lambda size: make_chat([data_url(number) for number in range(size)], detail="high"))
