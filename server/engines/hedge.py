"""One request at two engines, where the first is slow to begin: in a `Relay`'s place, with `hedge_after_s`.

(J. Dean, L. A. Barroso, "The Tail at Scale", 2013.) Whichever sends the first byte of its answer answers; the other
one's connection is closed at once, and its work with it.
"""

import asyncio
from copy import copy
from types import TracebackType
from typing import TYPE_CHECKING

from server.domain import Answer, Payload, ReadyRequest
from server.engines.engine import Engine
from server.engines.refusal import EngineOverloaded
from server.engines.relay import Relay
from server.errors import EngineConnectTimeout, EngineError, EngineUnreachable, GatewayError, TotalTimeout
from server.permit import Permit

if TYPE_CHECKING:
    from server.engines.pool import EnginePool

# Requests that take an engine some work, and leave nothing behind there (`store` is always false).
HEDGED = frozenset({"chat", "completions", "responses"})


# Failures that their engine has been put out for already, or that need not be its own.
NOT_TO_BLAME = (EngineUnreachable, EngineConnectTimeout, TotalTimeout)


class First(Relay):
    """Knows whom it has `asked`, the `target` last; and asks nobody else once it is not `alone`."""

    __slots__ = ("alone", "asked", "target")

    target: Engine

    def __init__(self, pool: "EnginePool", request: ReadyRequest, permit: Permit) -> None:
        super().__init__(pool, request, permit)
        self.alone = True
        self.asked: frozenset[Engine] = frozenset()

    def _choose(self, tried: frozenset[Engine] = frozenset()) -> Engine | None:
        return super()._choose(tried) if self.alone else None

    async def _send(self, engine: Engine) -> Answer:
        self.asked |= {engine}
        self.target = engine
        return await super()._send(engine)


class Second(Relay):
    """The same request at one engine, and no other. It is the same request's permit, which is in use already."""

    __slots__ = ("target",)

    is_hedge = True

    def __init__(self, pool: "EnginePool", request: ReadyRequest, permit: Permit, target: Engine) -> None:
        super().__init__(pool, request, permit)
        self.target = target

    async def __aenter__(self) -> Answer:
        try:
            return await self._send(self.target)
        except (EngineUnreachable, EngineConnectTimeout):
            self._pool.suspect(self.target)
            raise
        except EngineError as problem:
            if not isinstance(problem, TotalTimeout):
                self._pool.doubt(self.target)
            raise
        finally:
            self._request.forget()


class Attempt:
    """A relay that is entered in a task of its own. Whoever makes one takes its answer, or gives it up."""

    __slots__ = ("relay", "task")

    def __init__(self, relay: First | Second) -> None:
        self.relay = relay
        self.task = asyncio.create_task(relay.__aenter__(), name="hedged request")

    @property
    def answered(self) -> bool:
        return self.task.done() and not self.task.cancelled() and self.task.exception() is None

    @property
    def problem(self) -> BaseException | None:
        return self.task.exception() if self.task.done() and not self.task.cancelled() else None

    async def give_up(self) -> None:
        """Its engine's connection is closed: nothing that is awaited in a relay holds up its end."""
        self.task.cancel()
        await asyncio.wait({self.task})
        if self.answered:  # in this very moment
            await self.relay.__aexit__(None, None, None)


class HedgedRelay:
    """Has a `Relay`'s contract. One request more than a relay sends, at most: taken from the retry budget, and only
    where the gate has room for it (`Permit.widen`).

    Where both fail, the first one's error is the answer. What is no engine's failure (a refusal, the end of the
    request's time) is an answer, too, if it is the first one's.
    """

    __slots__ = ("_after_s", "_first", "_permit", "_pool", "_request", "_winner")

    def __init__(self, pool: "EnginePool", request: ReadyRequest, permit: Permit, after_s: float) -> None:
        self._pool = pool
        self._request = request
        self._permit = permit
        self._after_s = after_s
        self._first = First(pool, request, permit)
        self._winner: Relay = self._first

    async def __aenter__(self) -> Answer:
        whole = self._request.payload  # while pictures are sent by their names, it is another
        first = Attempt(self._first)
        try:
            await asyncio.wait({first.task}, timeout=self._after_s)
            target = None if first.task.done() else self._choose_second()
            if target is None:
                return await first.task
            return await self._race(first, self._send_second(target, whole))
        except BaseException:
            await first.give_up()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._winner.__aexit__(kind, problem, trace)

    def _choose_second(self) -> Engine | None:
        pool, request = self._pool, self._request
        target = pool.lanes.choose(request.model, request.tenant, request.affinity, self._first.asked)
        if target is None or not self._permit.widen():
            return None
        if not pool.retries.take():
            self._permit.narrow()
            return None
        return target

    def _send_second(self, target: Engine, whole: Payload) -> Attempt:
        """A request of its own: each engine knows other pictures by name."""
        self._first.alone = False
        self._pool.metrics.hedges.inc()
        request = copy(self._request)
        request.payload = whole
        return Attempt(Second(self._pool, request, self._permit, target))

    async def _race(self, first: Attempt, second: Attempt) -> Answer:
        try:
            tasks = {first.task, second.task}
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not first.answered and not second.answered and may_be_replaced(first.problem):
                await asyncio.wait(tasks)
            if second.answered and not first.answered and may_be_replaced(first.problem):
                return await self._take_second(first, second)
            answer = await first.task
            self._blame(second)
            return answer
        finally:
            if self._winner is self._first:
                await second.give_up()
            self._permit.narrow()

    async def _take_second(self, first: Attempt, second: Attempt) -> Answer:
        """The first engine is asked whether it can answer at all: nobody would learn that it hangs."""
        self._blame(first)
        await first.give_up()
        self._pool.doubt(first.relay.target)
        self._pool.metrics.hedges_won.inc()
        self._winner = second.relay
        return second.task.result()

    def _blame(self, loser: Attempt) -> None:
        """Another engine has answered what failed here."""
        problem = loser.problem
        if problem is None:
            return
        if not isinstance(problem, GatewayError):
            raise problem
        problem.__traceback__ = None  # whose frames hold it, and the request
        if isinstance(problem, EngineError) and not isinstance(problem, NOT_TO_BLAME):
            self._pool.blame(loser.relay.target)


def may_be_replaced(problem: BaseException | None) -> bool:
    """Whether another engine may yet answer what has failed so, or has not ended."""
    if problem is None:
        return True
    return isinstance(problem, EngineError | EngineOverloaded) and not isinstance(problem, TotalTimeout)
