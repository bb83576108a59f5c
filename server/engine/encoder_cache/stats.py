"""The cache's figures of some steps, as they travel from vLLM's scheduler to the metrics in its API server.

`Tally` gathers them in the scheduler's process; `EncoderCacheStats` is what vLLM carries, plain numbers by flat
names ("lookups|hit_disk"), which `prometheus.py` knows.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from server.engine.encoder_cache.outcomes import Outcome

COLLECT_S = 0.5


class EncoderCacheStats:
    """vLLM's ECConnectorStats, by its methods: `data` is all that is sent. `counts` are what came since the last
    time, `held` what there is now, `outcomes` what became of the pictures of these steps."""

    def __init__(self, data: dict[str, Any] | None = None) -> None:
        self.data: dict[str, Any] = data or {}

    def reset(self) -> None:
        self.data = {}

    def is_empty(self) -> bool:
        return not any(self.data.values())

    def aggregate(self, other: "EncoderCacheStats") -> "EncoderCacheStats":
        """Adds the later of the two."""
        counts = Counter(self.data.get("counts", {}))
        counts.update(other.data.get("counts", {}))
        merged = {name: {**self.data.get(name, {}), **other.data.get(name, {})} for name in ("held", "outcomes")}
        self.data = {"counts": dict(counts), **merged}
        return self

    def reduce(self) -> dict[str, int | float]:
        """For vLLM's log line every ten seconds."""
        counts, held = self.data.get("counts", {}), self.data.get("held", {})
        pictures = {
            name: counts.get(f"lookups|{name}", 0) for name in ("hit_host", "hit_disk", "hit_shared", "miss")
        }
        errors = sum(number for name, number in counts.items() if name.startswith("errors|"))
        return {**pictures, "errors": errors, "MB in host memory": round(held.get("bytes|host", 0) / 1e6)}


class Tally:
    """Sums since it was last taken. Totals that others keep are read twice a second at most: their growth is added.

    Used by the scheduler's thread alone.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._held: dict[str, float] = {}
        self._totals: dict[str, float] = {}
        self._collect: Callable[[], tuple[Mapping[str, float], Mapping[str, float]]] = lambda: ({}, {})
        self._next_s = 0.0

    def collect_from(self, collect: Callable[[], tuple[Mapping[str, float], Mapping[str, float]]]) -> None:
        """`collect` returns totals and what is held now, by name."""
        self._collect = collect

    def count(self, name: str) -> None:
        self._counts[name] += 1

    def add(self, counts: Mapping[str, float], held: Mapping[str, float]) -> None:
        for name, number in counts.items():
            self._counts[name] += number  # type: ignore[assignment]  # seconds are no integers
        self._held.update(held)

    def take(self, outcomes: Mapping[str, Outcome]) -> EncoderCacheStats | None:
        """None, most of the time: nothing has come to pass."""
        now = self._clock()
        if now >= self._next_s:
            self._next_s = now + COLLECT_S
            totals, held = self._collect()
            self.add(growth(self._totals, totals), held)
            self._totals = dict(totals)
        elif not self._counts and not outcomes:
            return None
        stats = EncoderCacheStats({"counts": dict(self._counts), "held": self._held, "outcomes": dict(outcomes)})
        self._counts, self._held = Counter(), {}
        return None if stats.is_empty() else stats


def growth(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    return {name: number - before.get(name, 0) for name, number in now.items() if number != before.get(name, 0)}
