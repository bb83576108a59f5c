"""The engines behind this gateway: found, asked whether they can answer, and each request's chosen among them."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from server.domain import ReadyRequest
from server.engines.capacity import EngineReport
from server.engines.client import EngineClient
from server.engines.engine import Engine
from server.engines.group import Group
from server.engines.health import Health, HealthRules
from server.engines.hedge import HEDGED, HedgedRelay
from server.engines.held import HeldImages, HeldRules
from server.engines.lanes import Lanes
from server.engines.relay import Relay
from server.engines.retry_budget import RetryBudget
from server.errors import EngineError, NoEngineReady, UnknownModel
from server.metrics import Metrics
from server.permit import Permit

log = logging.getLogger("fovea.engines")

MOST_TOLD = 8

MakeClient = Callable[[str, str], EngineClient]


class EnginePool:
    """Groups of engines that come and go. Ready means: it has answered a real generation.

    Each group is followed, and each engine watched, by a task of its own: a slow one holds up nobody else.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        make_client: MakeClient,
        poll_s: float,
        metrics: Metrics,
        aliases: Mapping[str, str] | None = None,
        rules: HealthRules | None = None,
        retries: RetryBudget | None = None,
        most_ejected: float = 0.5,
        held: HeldRules | None = None,
        hedge_after_s: float = 0,
        affinity: bool = True,
    ) -> None:
        self._groups = groups
        self._make_client = make_client
        self._poll_s = poll_s
        self._rules = rules or HealthRules()
        self._most_ejected = most_ejected
        self._held = held
        self._hedge_after_s = hedge_after_s
        self._tasks: list[asyncio.Task[None]] = []
        self._leaving: list[Engine] = []
        self.metrics = metrics
        self.retries = retries or RetryBudget(0.1, 10)
        self.lanes = Lanes(groups, aliases or {}, affinity)

    async def start(self) -> None:
        """Engines that are written down are known at once; they are ready when they have answered."""
        for group in self._groups:
            self._meet(group, group.source.written or ())
            self._tasks.append(asyncio.create_task(self._follow(group), name=f"engines of {group.name}"))

    async def close(self) -> None:
        engines = [*self._leaving, *(engine for group in self._groups for engine in group.engines.values())]
        tasks = [*self._tasks, *(task for e in engines for task in (e.watch, e.doubt) if task is not None)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for group in self._groups:
            await group.source.close()
        for engine in engines:
            await engine.client.close()

    @property
    def ready(self) -> bool:
        return any(engine.ready for group in self._groups for engine in group.engines.values())

    def why_not_ready(self) -> str:
        """A sentence, by pools and states; no address is in it, for anybody may read it."""
        return f"No engine is ready: {'; '.join(group.described() for group in self._groups[:MOST_TOLD])}."

    def models(self) -> Mapping[str, int | None]:
        """Every model that some engine serves or served, aliases included, with its context length in tokens."""
        return self.lanes.models

    def real_name(self, model: str) -> str:
        """What engines call a model that a caller calls so."""
        return self.lanes.real_name(model)

    def base_of(self, model: str) -> str:
        """The model that an adapter (LoRA) or an alias stands on; a model stands on itself."""
        return self.lanes.bases.get(model, model)

    def context_of(self, model: str) -> int | None:
        """Context length in tokens, None where the engine does not tell. Raises UnknownModel, NoEngineReady."""
        models = self.lanes.models
        if model in models:
            return models[model]
        if not models:
            raise NoEngineReady("No engine is ready yet: try again later.", retry_after_s=5)
        raise UnknownModel(f"The model '{model}' does not exist. Served: {', '.join(sorted(models))}.", "model")

    def most_tokens_of(self, model: str) -> int | None:
        """What the KV cache of the largest engine that serves `model` can hold for one request; None where that is
        not known."""
        return self.lanes.most_tokens.get(self.lanes.real_name(model))

    def reports(self, model: str | None = None) -> list[EngineReport]:
        """What the ready engines (those of `model`) told of themselves at the last poll, where they did."""
        name = None if model is None else self.lanes.real_name(model)
        engines = [engine for group in self._groups for engine in group.engines.values() if engine.ready]
        return [e.report for e in engines if e.report is not None and (name is None or name in e.models)]

    def engines(self) -> list[Engine]:
        """All that are there, ready or not."""
        return [engine for group in self._groups for engine in group.engines.values()]

    def relay(self, request: ReadyRequest, permit: Permit) -> Relay | HedgedRelay:
        """Lend the answer of the engine that the request's affinity prefers, or of another if that one fails."""
        if self._hedge_after_s and request.route in HEDGED:
            return HedgedRelay(self, request, permit, self._hedge_after_s)
        return Relay(self, request, permit)

    def suspect(self, engine: Engine) -> None:
        """It cannot be reached, or cannot answer: out until it answers a generation again."""
        self._put_out(engine, "failed and must prove itself again")

    def doubt(self, engine: Engine) -> None:
        """Stays in unless it cannot answer a generation now: the request may be one that no engine can bear, and
        its caller must not turn them out one by one."""
        if engine.ready and engine.doubt is None:
            engine.doubt = asyncio.create_task(self._question(engine), name="engine doubt")

    def blame(self, engine: Engine) -> None:
        """It failed a request that was not to blame. Outliers go out, but never so many that the rest drown."""
        if not (engine.health.failed() and engine.ready):
            return
        peers = self.lanes.peers(engine)
        out = sum(not peer.ready for peer in peers) + 1
        if out <= self._most_ejected * len(peers):
            self.metrics.engine_ejections.labels(engine.name).inc()
            self._put_out(engine, "fails too many requests and is out for a while")

    def _put_out(self, engine: Engine, why: str) -> None:
        if engine.ready:
            log.warning("%s %s", engine.name, why)
            engine.put_out(at_fault=True)
            self.lanes.remake()

    async def _question(self, engine: Engine) -> None:
        try:
            if not await engine.client.can_answer(next(iter(engine.models))):
                self.suspect(engine)
        finally:
            engine.doubt = None

    async def _follow(self, group: Group) -> None:
        """Look who is there; let go of those that left once their last request has ended."""
        while True:
            group.source.changed.clear()
            urls = await group.source.urls()
            if urls is not None:
                self._meet(group, urls)
            for engine in [each for each in self._leaving if not each.running]:
                self._leaving.remove(engine)
                await engine.client.close()
            try:
                async with asyncio.timeout(self._poll_s):
                    await group.source.changed.wait()
            except TimeoutError:
                pass

    def _meet(self, group: Group, urls: Sequence[str]) -> None:
        for url in [url for url in group.engines if url not in urls]:
            self._part(group.engines.pop(url))
        for url in [url for url in urls if url not in group.engines]:
            held = HeldImages(self._held) if self._held else None
            engine = Engine(self._make_client(group.name_of(url), url), url, Health(self._rules), held)
            group.engines[url] = engine
            engine.show(self.metrics)
            engine.watch = asyncio.create_task(self._watch(group, engine), name=f"watch {engine.name}")
        self.lanes.remake()

    def _part(self, engine: Engine) -> None:
        log.info("%s is no longer listed", engine.name)
        engine.left = True
        engine.hide(self.metrics)
        for task in (engine.watch, engine.doubt):
            if task is not None:
                task.cancel()
        self._leaving.append(engine)

    async def _watch(self, group: Group, engine: Engine) -> None:
        while True:
            await self._check(group, engine)
            engine.share = engine.health.share
            engine.health.turn_window()
            self.retries.turn()
            await asyncio.sleep(self._poll_s)

    async def _ask_for_report(self, engine: Engine) -> None:
        """The last one stays where none comes: an engine that is too busy to tell has not lost its memory."""
        try:
            engine.report = await engine.client.report()
        except EngineError as problem:
            log.debug("%s", problem.message)

    async def _is_proved(self, engine: Engine, model: str) -> bool:
        """By an answer, and not before its time: requests may have put it out since this look began."""
        return engine.health.may_be_asked and await engine.client.can_answer(model)

    async def _check(self, group: Group, engine: Engine) -> None:
        """Health and models at every look, as adapters come and go; a generation where it has to prove itself."""
        was, had, held = engine.ready, engine.models, engine.most_tokens
        engine.reached = await engine.client.health()
        if engine.reached != "healthy":
            engine.put_out(at_fault=False)
        elif engine.ready or engine.health.may_be_asked:
            try:
                models = group.allowed(await engine.client.models())
            except EngineError:
                return
            await self._ask_for_report(engine)
            if models and (engine.ready or await self._is_proved(engine, next(iter(models)))):
                engine.models = models
                was = was and engine.ready  # somebody may have put it out meanwhile
                engine.health.prove()
                engine.share = engine.health.share
        if (was, had, held) != (engine.ready, engine.models, engine.most_tokens):
            if was != engine.ready:
                log.info("%s is %s", engine.name, "ready" if engine.ready else "not ready")
            self.lanes.remake()
