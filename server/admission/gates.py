"""A gate for each pool of engines, kept at what the engines report."""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from operator import is_

from server.admission.brake import Load, Report, add_up
from server.admission.gate import Admission, Gate, GateRules
from server.domain import PRIORITIES, Cost, Tenant, Terms
from server.metrics import Metrics


class Gates:
    """`pool_of` says which pool serves a name, so that names of the same engines share a gate; `reports` what a
    pool's ready engines report, of whose tokens each of `processes` takes its part. Names are those that pools have
    accepted, so there are no more gates than pools.
    """

    def __init__(
        self,
        rules: GateRules,
        pool_of: Callable[[str], str],
        reports: Callable[[str], Iterable[Report]],
        refresh_s: float,
        metrics: Metrics,
        processes: int = 1,
    ) -> None:
        self._rules = rules
        self._pool_of = pool_of
        self._reports = reports
        self._refresh_s = refresh_s
        self._metrics = metrics
        self._processes = processes
        self._gates: dict[str, Gate] = {}
        self._by_name: dict[str, Gate] = {}
        self._seen: dict[str, list[Report]] = {}
        self._refresher: asyncio.Task[None] | None = None

    def admit(self, cost: Cost, tenant: Tenant, model: str, terms: Terms) -> Admission:
        """As `Gate.admit` of the pool that serves `model`."""
        gate = self._by_name.get(model)
        if gate is None:
            gate = self._by_name[model] = self._find(self._pool_of(model))
        return gate.admit(cost, tenant, terms)

    async def start(self) -> None:
        self._refresher = asyncio.create_task(self._refresh(), name="admission")

    async def close(self) -> None:
        if self._refresher is not None:
            self._refresher.cancel()
            await asyncio.gather(self._refresher, return_exceptions=True)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(self._refresh_s)
            self._by_name.clear()  # names may have gone over to other pools
            for pool, gate in self._gates.items():
                gate.refresh(self._load_of(pool))

    def _load_of(self, pool: str) -> Load | None:
        """Of reports that are not all the same as before: what was seen once is not answered twice."""
        reports = list(self._reports(pool))
        before = self._seen.get(pool)
        if before is not None and len(before) == len(reports) and all(map(is_, before, reports)):
            return None
        self._seen[pool] = reports
        return add_up(reports, self._processes)

    def _find(self, pool: str) -> Gate:
        gate = self._gates.get(pool)
        if gate is None:
            gate = self._gates[pool] = Gate(self._rules, pool, self._metrics)
            gate.refresh(self._load_of(pool))
            show(gate, pool, self._metrics)
        return gate


def show(gate: Gate, pool: str, metrics: Metrics) -> None:
    """Gauges that are read when they are asked for: a request pays for none of them."""
    for priority in PRIORITIES:
        metrics.waiting.show((pool, priority), partial(gate.line.waiting, priority))
    metrics.held_tokens.show((pool,), lambda: gate.books.tokens)
    metrics.held_places.show((pool,), lambda: gate.books.places)
    metrics.capacity_tokens.show((pool,), lambda: gate.brake.tokens or 0)
    metrics.capacity_places.show((pool,), lambda: gate.brake.places)
    metrics.brake.show((pool,), lambda: gate.brake.on)
