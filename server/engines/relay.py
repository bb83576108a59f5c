"""One request at the engines: sent to the chosen one, to another where that one fails before its first byte."""

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING

from server.domain import Answer, ReadyRequest
from server.engines.engine import Engine
from server.engines.held import HeldImages
from server.engines.payload import name_instead
from server.engines.refusal import EngineAnsweredBadly, EngineOverloaded, EngineRefused
from server.engines.tracing import UNTRACED, Call, begin_call
from server.errors import (
    EngineConnectTimeout,
    EngineError,
    EngineUnreachable,
    GatewayError,
    NoEngineReady,
    TotalTimeout,
)
from server.permit import Permit

if TYPE_CHECKING:
    from server.engines.pool import EnginePool

# Engines that are sent one request, at most; those that cannot be reached were sent nothing.
MOST_SENT = 2
# vLLM 0.32's words, for a picture that came by name and is not in its processor's cache (any more).
CACHE_MISS = "Cache miss for image at index"


class Relay:
    """Lends an answer while an `async with` block runs. Only here are engines' requests counted.

    Raises EngineError, NoEngineReady and the errors of `EngineClient.send`. What failed is tried again on another
    engine only, only before the first byte, and only as far as the retry budget goes.
    """

    __slots__ = ("_answer", "_call", "_calls", "_engine", "_permit", "_pool", "_request", "_sending")

    is_hedge = False

    def __init__(self, pool: "EnginePool", request: ReadyRequest, permit: Permit) -> None:
        self._pool = pool
        self._request = request
        self._permit = permit
        self._call: Call | None = None
        self._calls = 0
        self._engine: Engine
        self._sending: AbstractAsyncContextManager[Answer]
        self._answer: Answer

    async def __aenter__(self) -> Answer:
        self._permit.use()
        self._pool.retries.saw_request()
        engine = self._choose()
        if engine is None:
            raise NoEngineReady(f"No engine that serves '{self._request.model}' is ready.", retry_after_s=5)
        if self._request.slots:
            self._count_affinity(engine)
        try:
            return await self._send(engine)
        except TotalTimeout:
            raise  # no time is left for another, and it need not be the engine's fault
        except (EngineError, EngineOverloaded) as problem:
            return await self._send_elsewhere(engine, problem)

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        engine = self._engine
        engine.running -= 1
        failure = problem if problem is not None else self._answer.failure
        if self._call is not None:
            self._call.end(failure)
        # A failure of ours, as when we are told to stop, is not the engine's.
        if isinstance(failure, EngineError) and not isinstance(failure, TotalTimeout):
            self._pool.doubt(engine)
            self._pool.blame(engine)
        elif problem is None:
            engine.health.succeeded()
        return await self._sending.__aexit__(kind, problem, trace)

    def _choose(self, tried: frozenset[Engine] = frozenset()) -> Engine | None:
        request = self._request
        return self._pool.lanes.choose(request.model, request.tenant, request.affinity, tried)

    def _count_affinity(self, engine: Engine) -> None:
        request, pool = self._request, self._pool
        pool.metrics.affinity.add((pool.lanes.affinity(request.model, request.tenant, request.affinity, engine),))

    async def _send(self, engine: Engine) -> Answer:
        request, held = self._request, engine.held
        if not request.slots or held is None:
            return await self._open(engine)
        if digests := held.among(request.slots):
            answer = await self._send_names(engine, held, digests)
            if answer is not None:
                return answer
        answer = await self._open(engine)
        held.saw(request.slots)
        return answer

    async def _send_names(self, engine: Engine, held: HeldImages, digests: frozenset[str]) -> Answer | None:
        """The names of pictures without their bytes; None: the engine does not hold them after all."""
        request, metrics = self._request, self._pool.metrics
        whole = request.payload
        request.payload = name_instead(whole, request.slots, digests)
        saved = sum(map(len, whole)) - sum(map(len, request.payload))
        try:
            answer = await self._open(engine)
        except EngineRefused as problem:
            if not problem.message.startswith(CACHE_MISS):
                raise
            held.missed(digests)
        except EngineAnsweredBadly:
            # Names must cost nobody an answer; but an engine that is down is not asked twice by everybody.
            held.missed(digests)
            if not self._may_try_again():
                raise
        else:
            held.saw(request.slots)
            held.hit()
            metrics.bytes_not_sent.inc(saved)
            metrics.hash_first_hit.inc()
            return answer
        finally:
            request.payload = whole
        metrics.hash_first_miss.inc()
        return None

    async def _open(self, engine: Engine) -> Answer:
        call = begin_call(self._request, engine.name, self._calls, self.is_hedge)
        sending = engine.client.send(self._request, self._permit, call.traced if call is not None else UNTRACED)
        engine.running += 1
        self._calls += 1
        try:
            answer = await sending.__aenter__()
        except BaseException as problem:
            engine.running -= 1
            if call is not None:
                call.end(problem)
            raise
        if call is not None:
            call.answered(answer)
        self._call = call
        self._engine, self._sending, self._answer = engine, sending, answer
        return answer

    async def _send_elsewhere(self, engine: Engine, problem: GatewayError) -> Answer:
        """Failures are blamed on their engine once another one has answered: else the request may be at fault."""
        tried: frozenset[Engine] = frozenset()
        sent, at_fault = 0, []
        while True:
            tried |= {engine}
            if isinstance(problem, EngineUnreachable | EngineConnectTimeout):
                self._pool.suspect(engine)
            else:
                sent += 1
                if isinstance(problem, EngineError):
                    self._pool.doubt(engine)
                    at_fault.append(engine)
            other = self._choose(tried) if sent < MOST_SENT else None
            if other is None or not self._may_try_again():
                raise problem
            try:
                answer = await self._send(other)
            except TotalTimeout:
                raise
            except (EngineError, EngineOverloaded) as again:
                engine, problem = other, again
                continue
            for each in at_fault:
                self._pool.blame(each)
            return answer

    def _may_try_again(self) -> bool:
        allowed = self._pool.retries.take()
        (self._pool.metrics.retries if allowed else self._pool.metrics.retries_refused).inc()
        return allowed
