"""Asks one subject: the same requests in the same order for all, each with pictures that no other has shown."""

import asyncio
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import aiohttp
import uvloop

from loadtest.driving.answers import open_session
from loadtest.driving.caller import Caller, Clock, Target
from loadtest.embedding_cache.pictures import draw_picture
from loadtest.end_to_end.engines import MODEL, SIDE, Engine
from loadtest.end_to_end.result import COLD, REPEATED, Block, Pair
from loadtest.end_to_end.subjects import Subject
from loadtest.records import RequestRecord
from loadtest.scenario.document import Tenant

ANSWER_TOKENS = 8
TENANT = Tenant(name="bench")
TIMEOUT_S = 300
# Until what vLLM logs of a block's last steps is written.
SETTLE_S = 0.5


@dataclass(frozen=True, slots=True)
class Load:
    """What a subject is asked in a round: `cold` and `repeated` are places in `pictures`, data URLs."""

    round: int
    callers: int
    pictures: Sequence[str]
    cold: Sequence[int]
    repeated: Sequence[int]
    settle_s: float = SETTLE_S


class NotAnswered(Exception):
    """A request failed: the figures of its block would be of another load."""


def order(pictures: int, times: int, seed: int) -> tuple[list[int], list[int]]:
    """Which picture each request shows: every one once; then all `times` more, each time in another order."""
    draw = random.Random(seed)
    turns = [draw.sample(range(pictures), pictures) for _ in range(times + 1)]
    return turns[0], [each for turn in turns[1:] for each in turn]


def target_of(subject: Subject) -> Target:
    keys = {TENANT.name: subject.key} if subject.key else {}
    return Target(f"{subject.url}/v1", MODEL, keys, TIMEOUT_S, {"ignore_eos": True})


def messages_of(picture: str, number: int) -> list[object]:
    """No two requests begin alike: nothing is a known prefix."""
    shown = {"type": "image_url", "image_url": {"url": picture}}
    words = [{"type": "text", "text": text} for text in (f"No. {number}.", "What is this?")]
    return [{"role": "user", "content": [words[0], shown, words[1]]}]


async def ask(caller: Caller, subject: Subject, picture: str, number: int) -> RequestRecord:
    """Raises NotAnswered."""
    planned = RequestRecord(number, None, 0, None, (), 0, 0, "")
    record, _ = await caller.ask(planned, TENANT, messages_of(picture, number), ANSWER_TOKENS)
    if not record.answered or record.ttft_s is None:
        raise NotAnswered(f"{subject.name}: {record.code or 'no words'} (status {record.status})")
    return record


async def ask_all(
    subject: Subject, shown: Iterable[str], callers: int, numbers: Iterator[int]
) -> tuple[list[RequestRecord], float]:
    """Each caller takes the next when it has its answer; all of them, and the seconds that it took."""
    clock, left = Clock(), iter(shown)
    async with open_session(aiohttp.ClientTimeout(total=None, sock_connect=30)) as session:
        caller, records = Caller(session, target_of(subject), clock), list[RequestRecord]()

        async def call() -> None:
            for picture in left:
                records.append(await ask(caller, subject, picture, next(numbers)))

        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(call())
    return records, max(each.ended_s for each in records)


def ask_blocks(subject: Subject, engines: Sequence[Engine], load: Load, numbers: Iterator[int]) -> Iterator[Block]:
    """Of both kinds, where there is something to ask."""
    for kind, which in ((COLD, load.cold), (REPEATED, load.repeated)):
        if not which:
            continue
        before = sum(each.encodes() for each in engines)
        shown = (load.pictures[each] for each in which)
        records, took_s = uvloop.run(ask_all(subject, shown, load.callers, numbers))
        time.sleep(load.settle_s)
        encodes = sum(each.encodes() for each in engines) - before
        ttft = [round(each.ttft_s or 0, 4) for each in records]
        e2e = [round(each.e2e_s, 4) for each in records]
        yield Block(subject.name, load.round, kind, len(load.pictures), encodes, round(took_s, 4), ttft, e2e)


def ask_pairs(direct: Subject, fovea: Subject, count: int, numbers: Iterator[int]) -> list[Pair]:
    """One request at a time, the two in turns: what the gateway adds, where nothing else is in the way."""
    return uvloop.run(_pairs(direct, fovea, count, numbers))


async def _pairs(direct: Subject, fovea: Subject, count: int, numbers: Iterator[int]) -> list[Pair]:
    picture, clock, pairs = fresh_pictures(1, 0)[0], Clock(), list[Pair]()
    async with open_session(aiohttp.ClientTimeout(total=None, sock_connect=30)) as session:
        callers = {each.name: Caller(session, target_of(each), clock) for each in (direct, fovea)}
        for turn in range(-1, count):
            took: dict[str, float] = {}
            for each in (direct, fovea) if turn % 2 else (fovea, direct):
                record = await ask(callers[each.name], each, picture, next(numbers))
                took[each.name] = record.ttft_s or 0
            if turn >= 0:  # before, the picture was encoded
                pairs.append(Pair(round(took[direct.name], 5), round(took[fovea.name], 5)))
    return pairs


def fresh_pictures(count: int, place: int) -> list[str]:
    """Data URLs. Every `place` has others."""
    return [draw_picture(SIDE, 1000 * place + number).url for number in range(count)]
