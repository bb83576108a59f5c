"""The line to the store that gateways share: what waits goes out in one write, in order, and is waited for briefly.

One task for all requests. While the store is lost nobody waits for it: the line itself looks whether it is back.
"""

import asyncio
import hashlib
import logging
import random
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from server.metrics import Metrics

Command = tuple[str | int, ...]

OPEN_S = 2.0
# Given once more where it was we who were late: what has come is read before it is called lost.
GRACE_S = 0.005
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 4.0
MOST_AT_ONCE = 128
MOST_WAITING = 8192
# Of one key: Lua takes no more arguments than fit its stack. Who has more at once is not limited by places.
MOST_RENEWED = 5000

log = logging.getLogger("fovea.limits")


class StoreLost(Exception):
    """The store cannot be asked now. `kind` is a metric's label, `detail` holds nothing of a caller's."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail


class Connection(Protocol):
    """All may raise StoreLost."""

    async def open(self) -> None: ...

    async def exchange(self, commands: Sequence[Command]) -> list[Any]: ...

    async def close(self) -> None: ...


class Script:
    """Runs in the store, known there by its hash."""

    def __init__(self, name: str) -> None:
        self.source = Path(__file__).with_name(name).read_text()
        self._sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def call(self, keys: Sequence[str], arguments: Iterable[str | int]) -> Command:
        return ("EVALSHA", self._sha, len(keys), *keys, *arguments)


DRAW, BEAT = Script("draw.lua"), Script("beat.lua")


@dataclass(slots=True)
class Operation:
    """`undo` is called where it was done for someone who no longer waits."""

    command: Command
    reply: asyncio.Future[Any] | None = None
    undo: Callable[[Any], None] | None = None


class StoreLine:
    """Carries operations out in the order in which they were given. `gateways` share the store, when last seen."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        prefix: str,
        timeout_s: float,
        lease_s: float,
        metrics: Metrics,
        gateways: int = 1,
    ) -> None:
        """A gateway that says nothing for `lease_s` has gone, and with it the places of its requests. `gateways`
        are there until the store says how many."""
        self._connect = connect
        self._prefix = prefix
        self._timeout_s = timeout_s
        self.lease_us = int(lease_s * 1e6)
        self._beat_s = lease_s / 3
        self._metrics = metrics
        self._name = secrets.token_hex(8)
        self._waiting: deque[Operation] = deque()
        self._sent: list[Operation] = []
        self._leases: dict[str, set[str]] = {}
        self._count = 0
        self._wake = asyncio.Event()
        self._tried = asyncio.Event()
        self._lost_before = False
        self._task: asyncio.Task[None] | None = None
        self.up = False
        self.gateways = gateways
        metrics.limit_store_up.set(0)

    async def start(self) -> None:
        """Returns once the store has answered, or has been tried in vain."""
        self._task = asyncio.create_task(self._run(), name="store of limits")
        await self._tried.wait()

    async def close(self) -> None:
        """Tell the store what has been given back, and that this gateway goes; briefly."""
        if self.up:
            leaving = self.ask(("ZREM", f"{self._prefix}gateways", self._name), lambda _: None)
            await asyncio.wait({leaving}, timeout=2 * self._timeout_s)
            leaving.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def ask(self, command: Command, undo: Callable[[Any], None]) -> asyncio.Future[Any]:
        """Its reply, or StoreLost. Cancelled, it is not carried out, or undone. Raises StoreLost."""
        if not self.up or len(self._waiting) >= MOST_WAITING:
            raise StoreLost("busy")
        reply = asyncio.get_running_loop().create_future()
        self._put(Operation(command, reply, undo))
        return reply

    def tell(self, command: Command) -> None:
        """Carried out unless the store is lost."""
        if self.up and len(self._waiting) < MOST_WAITING:
            self._put(Operation(command))

    def new_lease(self) -> str:
        self._count += 1
        return f"{self._name}:{self._count}"

    def hold(self, keys: Iterable[str], lease: str) -> None:
        """Renew it in each of these sets until it is let go, also where the store has forgotten it."""
        for key in keys:
            self._leases.setdefault(key, set()).add(lease)

    def let_go(self, keys: Iterable[str], lease: str) -> None:
        for key in keys:
            leases = self._leases.get(key, set())
            leases.discard(lease)
            if not leases:
                self._leases.pop(key, None)

    def _put(self, operation: Operation) -> None:
        self._waiting.append(operation)
        self._wake.set()

    async def _run(self) -> None:
        try:
            await self._stay_connected()
        finally:
            self._release(StoreLost("closed"))

    async def _stay_connected(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            connection = self._connect()
            try:
                async with asyncio.timeout(OPEN_S):
                    await connection.open()
                    await connection.exchange([("SCRIPT", "LOAD", script.source) for script in (DRAW, BEAT)])
                    await self._announce(connection)
                    for commands in self._renewals():
                        await connection.exchange(commands)
                self._return()
                pause_s = FIRST_PAUSE_S
                await self._serve(connection)
            except TimeoutError:
                self._lose(StoreLost("timeout"))
            except StoreLost as problem:
                self._lose(problem)
            finally:
                await close_quietly(connection)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _serve(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        next_beat = loop.time() + self._beat_s
        waking = loop.call_at(next_beat, self._wake.set)
        try:
            while True:
                await self._wake.wait()
                await self._send_batch(connection)
                if loop.time() >= next_beat:
                    await self._beat(connection)
                    next_beat = loop.time() + self._beat_s
                    waking = loop.call_at(next_beat, self._wake.set)
                if not self._waiting:
                    self._wake.clear()
        finally:
            waking.cancel()

    async def _send_batch(self, connection: Connection) -> None:
        batch = self._sent
        while self._waiting and len(batch) < MOST_AT_ONCE:
            operation = self._waiting.popleft()
            if operation.reply is None or not operation.reply.cancelled():
                batch.append(operation)
        if not batch:
            return
        began = time.perf_counter()
        async with self._deadline():
            replies = await connection.exchange([operation.command for operation in batch])
        self._metrics.limit_store_seconds.observe(time.perf_counter() - began)
        self._sent = []
        for operation, reply in zip(batch, replies, strict=True):
            if operation.reply is None:
                continue
            if not operation.reply.cancelled():
                operation.reply.set_result(reply)
            elif operation.undo is not None:
                operation.undo(reply)

    @asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        """Raises TimeoutError. A loop that was busy elsewhere looks first whether the replies have come by then."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as bound:
            late = loop.call_later(self._timeout_s, lambda: bound.reschedule(loop.time() + GRACE_S))
            try:
                yield
            finally:
                late.cancel()

    async def _beat(self, connection: Connection) -> None:
        """Requests have their turn between the steps."""
        async with self._deadline():
            await self._announce(connection)
        for commands in self._renewals():
            async with self._deadline():
                await connection.exchange(commands)
            await self._send_batch(connection)

    async def _announce(self, connection: Connection) -> None:
        (count,) = await connection.exchange([BEAT.call([f"{self._prefix}gateways"], [self.lease_us, self._name])])
        self.gateways = max(1, int(count))

    def _renewals(self) -> Iterator[list[Command]]:
        """Made as they are sent, so that nothing is renewed that has been let go."""
        keys = list(self._leases)
        for at in range(0, len(keys), MOST_AT_ONCE):
            held = ((key, islice(self._leases.get(key, ()), MOST_RENEWED)) for key in keys[at : at + MOST_AT_ONCE])
            yield [BEAT.call([key], [self.lease_us, *leases]) for key, leases in held]

    def _return(self) -> None:
        self.up = True
        self._metrics.limit_store_up.set(1)
        self._tried.set()
        if self._lost_before:
            log.info("the store of limits answers again: limits are shared by %d gateways", self.gateways)
        self._lost_before = False

    def _lose(self, problem: StoreLost) -> None:
        """One line a loss, however often it is tried again."""
        self._release(problem)
        self._metrics.limit_store_errors.labels(problem.kind).inc()
        if not self._lost_before:
            why = f"{problem.kind}, {problem.detail}" if problem.detail else problem.kind
            log.error(
                "the store of limits is lost (%s): of each limit this gateway now has 1/%d", why, self.gateways
            )
        self._lost_before = True

    def _release(self, problem: StoreLost) -> None:
        """Whoever waits is told at once, and from now on nobody waits."""
        self.up = False
        self._metrics.limit_store_up.set(0)
        self._tried.set()
        waiting = [*self._sent, *self._waiting]
        self._sent = []
        self._waiting.clear()
        for operation in waiting:
            if operation.reply is not None and not operation.reply.done():
                operation.reply.set_exception(problem)


async def close_quietly(connection: Connection) -> None:
    with suppress(StoreLost):  # it is lost already
        await connection.close()
