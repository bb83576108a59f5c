"""The engines behind this gateway: who is ready, who serves which model, and who gets a request."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from server.domain import Answer, ReadyRequest
from server.engines.affinity import pick
from server.engines.capacity import EngineReport
from server.engines.client import EngineAnsweredBadly, EngineClient
from server.errors import EngineError, NoEngineReady, UnknownModel
from server.metrics import Metrics
from server.permit import Permit

log = logging.getLogger("fovea.engines")


@dataclass(slots=True)
class Engine:
    """One engine as last seen. `models` outlives its readiness, so that a restart is not an unknown model; so does
    `report`, None until the engine's metrics have told of its memory once."""

    client: EngineClient
    ready: bool = False
    running: int = 0
    models: dict[str, int | None] = field(default_factory=dict)
    doubt: "asyncio.Task[None] | None" = None
    report: EngineReport | None = None


class EnginePool:
    """A fixed list of engines, polled for readiness. Ready means: it has answered a real generation."""

    def __init__(self, clients: list[EngineClient], poll_s: float, metrics: Metrics) -> None:
        self._engines = {client.name: Engine(client) for client in clients}
        self._poll_s = poll_s
        self._metrics = metrics
        self._poller: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._poller = asyncio.create_task(self._poll(), name="engine readiness")

    async def close(self) -> None:
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)
        for engine in self._engines.values():
            if engine.doubt is not None:
                engine.doubt.cancel()
                await asyncio.gather(engine.doubt, return_exceptions=True)
            await engine.client.close()

    @property
    def ready(self) -> bool:
        return any(engine.ready for engine in self._engines.values())

    def models(self) -> dict[str, int | None]:
        """Every model that some engine serves or served, with its context length in tokens."""
        found: dict[str, int | None] = {}
        for engine in self._engines.values():
            found.update(engine.models)
        return found

    def context_of(self, model: str) -> int | None:
        """Context length in tokens, None where the engine does not tell. Raises UnknownModel, NoEngineReady."""
        models = self.models()
        if not models:
            raise NoEngineReady("No engine is ready yet: try again later.", retry_after_s=5)
        if model not in models:
            raise UnknownModel(f"The model '{model}' does not exist. Served: {', '.join(sorted(models))}.", "model")
        return models[model]

    def reports(self, model: str | None = None) -> list[EngineReport]:
        """What the ready engines (those of `model`) told of themselves at the last poll, where they did."""
        return [
            engine.report
            for engine in self._engines.values()
            if engine.ready and engine.report is not None and (model is None or model in engine.models)
        ]

    @asynccontextmanager
    async def relay(self, request: ReadyRequest, permit: Permit) -> AsyncIterator[Answer]:
        """Lend the answer of the engine that the request's affinity prefers, or of another if that one fails.

        Only failures before the first byte are tried again, once. Raises EngineError, NoEngineReady and the
        errors of `EngineClient.send`.
        """
        permit.use()
        async with AsyncExitStack() as stack:
            engine = self._choose(request, exclude=None)
            try:
                answer = await stack.enter_async_context(self._send(engine, request, permit))
            except EngineError as problem:
                if isinstance(problem, EngineAnsweredBadly):
                    # The request may be one that no engine can bear: its caller must not turn them out one by one.
                    self._doubt(engine)
                else:
                    self._suspect(engine)
                second = self._choose(request, exclude=engine)
                self._metrics.retries.inc()
                answer = await stack.enter_async_context(self._send(second, request, permit))
            yield answer

    @asynccontextmanager
    async def _send(self, engine: Engine, request: ReadyRequest, permit: Permit) -> AsyncIterator[Answer]:
        engine.running += 1
        gauge = self._metrics.engine_running.labels(engine.client.name)
        gauge.set(engine.running)
        try:
            async with engine.client.send(request, permit) as answer:
                yield answer
        finally:
            engine.running -= 1
            gauge.set(engine.running)

    def _choose(self, request: ReadyRequest, exclude: Engine | None) -> Engine:
        running = {
            name: engine.running
            for name, engine in self._engines.items()
            if engine.ready and engine is not exclude and request.model in engine.models
        }
        if not running:
            if exclude is not None:
                raise EngineError(f"{exclude.client.name} failed, and no other engine is ready.")
            raise NoEngineReady(f"No engine that serves '{request.model}' is ready.", retry_after_s=5)
        return self._engines[pick(request.affinity, running)]

    def _suspect(self, engine: Engine) -> None:
        """Out of the pool until it answers a generation again."""
        if engine.ready:
            log.warning("%s failed a request and must prove itself again", engine.client.name)
        self._set_ready(engine, False)

    def _doubt(self, engine: Engine) -> None:
        """Stays in the pool unless it cannot answer a generation now."""
        if engine.ready and engine.doubt is None:
            engine.doubt = asyncio.create_task(self._question(engine), name="engine doubt")

    async def _question(self, engine: Engine) -> None:
        try:
            if not await engine.client.can_answer(next(iter(engine.models))):
                self._suspect(engine)
        finally:
            engine.doubt = None

    async def _poll(self) -> None:
        while True:
            await asyncio.gather(*(self._check(engine) for engine in self._engines.values()))
            await asyncio.sleep(self._poll_s)

    async def _check(self, engine: Engine) -> None:
        healthy = await engine.client.is_healthy()
        if healthy:
            await self._ask_for_report(engine)
        if engine.ready or not healthy:
            self._set_ready(engine, engine.ready and healthy)
            return
        try:
            models = await engine.client.models()
        except EngineError:
            return
        if models and await engine.client.can_answer(next(iter(models))):
            engine.models = models
            self._set_ready(engine, True)

    async def _ask_for_report(self, engine: Engine) -> None:
        """The last one stays where none comes: an engine that is too busy to tell has not lost its memory."""
        try:
            engine.report = await engine.client.report()
        except EngineError as problem:
            log.debug("%s", problem.message)

    def _set_ready(self, engine: Engine, ready: bool) -> None:
        if ready != engine.ready:
            log.info("%s is %s", engine.client.name, "ready" if ready else "not ready")
        engine.ready = ready
        self._metrics.engine_ready.labels(engine.client.name).set(ready)
