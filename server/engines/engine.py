"""One engine as the pool sees it: its client, what it serves, how it has done, and what it is counted by."""

import asyncio
from collections.abc import Mapping
from functools import partial

from server.domain import ENGINE_STATES, EngineState
from server.engines.affinity import make_seed
from server.engines.capacity import EngineReport
from server.engines.cards import Card
from server.engines.client import EngineClient, Reached
from server.engines.health import Health
from server.engines.held import HeldImages
from server.metrics import Metrics


class Engine:
    """`models` outlives its readiness, so that a restart is not an unknown model; so does `report`, None until the
    engine's metrics have told of its memory once.

    `held` is None where pictures are never sent by name.
    `running` and `share` are what it is chosen by. The requests of an engine that has `left` run to their end.
    """

    __slots__ = (
        "client",
        "doubt",
        "health",
        "held",
        "left",
        "models",
        "name",
        "reached",
        "report",
        "running",
        "seed",
        "share",
        "watch",
    )

    def __init__(self, client: EngineClient, url: str, health: Health, held: HeldImages | None = None) -> None:
        self.client = client
        self.name = client.name
        self.health = health
        self.held = held
        self.seed = make_seed(url)
        self.running = 0
        self.share = 1.0
        self.models: Mapping[str, Card] = {}
        self.reached: Reached = "healthy"
        self.report: EngineReport | None = None
        self.left = False
        self.doubt: asyncio.Task[None] | None = None
        self.watch: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        return self.health.is_in and not self.left

    @property
    def most_tokens(self) -> int | None:
        """What one request can have of its KV cache; None where it does not tell."""
        return None if self.report is None else self.report.most_tokens

    @property
    def state(self) -> EngineState:
        """In a word: why it is not ready, where it is not."""
        if self.ready:
            return "ready"
        if self.reached != "healthy":
            return self.reached
        return "ejected" if self.health.is_ejected else "starting"

    def put_out(self, *, at_fault: bool) -> None:
        """No requests until it has proved itself again; it may be another process by then."""
        self.health.put_out(at_fault=at_fault)
        if self.held is not None:
            self.held.clear()

    def show(self, metrics: Metrics) -> None:
        """Read when metrics are, not written when requests come."""
        metrics.engine_ready.show((self.name,), lambda: self.ready)
        metrics.engine_running.show((self.name,), lambda: self.running)
        metrics.engine_ejections.labels(self.name)
        metrics.engine_kv_usage.show((self.name,), lambda: None if self.report is None else self.report.kv_usage)
        metrics.engine_waiting.show((self.name,), lambda: None if self.report is None else self.report.waiting)
        for state in ENGINE_STATES:
            metrics.engine_state.show((self.name, state), partial(self._is, state))

    def _is(self, state: EngineState) -> float:
        return float(self.state == state)

    def hide(self, metrics: Metrics) -> None:
        """Nothing of an engine that is gone stays in the metrics."""
        metrics.engine_ready.hide((self.name,))
        metrics.engine_running.hide((self.name,))
        metrics.engine_ejections.remove(self.name)
        metrics.engine_kv_usage.hide((self.name,))
        metrics.engine_waiting.hide((self.name,))
        for state in ENGINE_STATES:
            metrics.engine_state.hide((self.name, state))
