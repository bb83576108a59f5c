import asyncio
import json
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from server.engine.encoder_cache.forgetting import (
    MOST_BODY_BYTES,
    MOST_DIGESTS,
    MOST_WAITING,
    PATH,
    Forgets,
)

Message = dict[str, Any]
APPLICATION = object()


class Kept:
    """What is kept, in memory; `stuck` cannot be deleted."""

    def __init__(self, *digests: str, stuck: Sequence[str] = ()) -> None:
        self.digests = {*digests, *stuck}
        self.stuck = set(stuck)
        self.opened: list[object] = []
        self.threads: set[str] = set()
        self.go = threading.Event()
        self.go.set()

    def open(self, application: object) -> Any:
        self.opened.append(application)
        return self.forget

    def forget(self, digests: Sequence[str]) -> int:
        self.go.wait(30)
        self.threads.add(threading.current_thread().name)
        self.digests -= set(digests) - self.stuck
        return len(self.digests & set(digests))


async def nobody(scope: Message, receive: Any, send: Any) -> None:
    await send({"type": "nobody"})


async def call(forgets: Forgets, *pieces: bytes, method: str = "POST", path: str = PATH) -> tuple[int, Any]:
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces[:-1]]
    messages += [{"type": "http.request", "body": pieces[-1]}] if pieces else [{"type": "http.disconnect"}]
    sent: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "path": path, "method": method, "headers": [], "app": APPLICATION}
    await forgets(scope, receive, send)
    return (sent[0]["status"], json.loads(sent[1]["body"])) if len(sent) == 2 else (0, sent)


def asked(*digests: object) -> bytes:
    return json.dumps({"digests": digests}).encode()


def forgets(kept: Kept) -> Forgets:
    return Forgets(nobody, kept.open)


def test_what_is_named_is_forgotten_and_nothing_else() -> None:
    kept = Kept("a", "b", "c")
    body = asked("a", "b", "a", "unknown")
    assert asyncio.run(call(forgets(kept), body[:9], body[9:])) == (200, {"forgotten": 3, "left": 0})
    assert kept.digests == {"c"}


def test_what_may_still_be_there_is_no_success() -> None:
    kept = Kept("a", stuck=["b"])
    assert asyncio.run(call(forgets(kept), asked("a", "b"))) == (503, {"forgotten": 1, "left": 1})


def test_the_work_is_done_by_one_thread_which_opens_once() -> None:
    kept = Kept("a", "b")

    async def twice() -> None:
        ours = forgets(kept)
        await asyncio.gather(call(ours, asked("a")), call(ours, asked("b")))

    asyncio.run(twice())
    assert kept.opened == [APPLICATION]
    assert [name.startswith("fovea-forget") for name in kept.threads] == [True]


def test_those_that_wait_are_few() -> None:
    kept = Kept()
    kept.go.clear()

    async def many() -> list[int]:
        ours = forgets(kept)
        calls = [asyncio.create_task(call(ours, asked("a"))) for _ in range(MOST_WAITING + 5)]
        while not any(each.done() for each in calls):
            await asyncio.sleep(0)
        kept.go.set()
        return [status for status, _ in await asyncio.gather(*calls)]

    statuses = asyncio.run(many())
    assert (statuses.count(200), statuses.count(503)) == (MOST_WAITING + 1, 4)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"no",
        b'{"digests": "a"}',
        b'{"digests": []}',
        b'{"digests": ["a"], "all": true}',
        asked("a", 1),
        asked(""),
        asked("x" * 257),
        asked("a\nb"),
        asked(*map(str, range(MOST_DIGESTS + 1))),
        b"\xff\xfe",
    ],
)
def test_anything_else_is_refused_and_nothing_forgotten(body: bytes) -> None:
    kept = Kept("a")
    status, answer = asyncio.run(call(forgets(kept), body))
    assert (status, list(answer)) == (400, ["error"])
    assert kept.digests == {"a"}


def test_as_many_as_may_be_asked_for_fit_into_a_body() -> None:
    most = asked(*(f"{number:0256}" for number in range(MOST_DIGESTS)))
    assert asyncio.run(call(forgets(Kept()), most))[0] == 200


def test_larger_bodies_are_not_read_to_their_end() -> None:
    half = b" " * (MOST_BODY_BYTES // 2 + 1)
    assert asyncio.run(call(forgets(Kept()), half, half, b"never read"))[0] == 413


def test_a_body_without_end_is_nothing() -> None:
    assert asyncio.run(call(forgets(Kept())))[0] == 400


def test_only_post_forgets() -> None:
    kept = Kept("a")
    assert asyncio.run(call(forgets(kept), asked("a"), method="GET"))[0] == 405
    assert kept.digests == {"a"}


def test_an_engine_that_keeps_nothing_says_so_each_time() -> None:
    ours = Forgets(nobody, lambda _: None)
    assert [asyncio.run(call(ours, asked("a")))[0] for _ in range(2)] == [404, 404]


def test_other_paths_pass_through() -> None:
    assert asyncio.run(call(forgets(Kept()), asked("a"), path=PATH + "/")) == (0, [{"type": "nobody"}])
