"""What became of the soak's requests, in windows: bounded, however long it lasts."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import median

from loadtest.reporting.intervals import percentile
from loadtest.soak.mix import ANSWERED, FULL, KINDS
from loadtest.soak.result import Window

WINDOW_S = 60
# Of a window, of each latency: chosen evenly among those that came (Vitter's algorithm R).
MOST_KEPT = 500
STREAMS = frozenset({"stream, new picture", "stream, known picture", "picture by URL", "text"})


class Kept:
    def __init__(self) -> None:
        self.values: list[float] = []
        self._seen = 0
        self._rng = random.Random(1)

    def add(self, value: float) -> None:
        self._seen += 1
        if len(self.values) < MOST_KEPT:
            self.values.append(value)
        elif (place := self._rng.randrange(self._seen)) < MOST_KEPT:
            self.values[place] = value


class Tally:
    def __init__(self) -> None:
        self._counts: dict[int, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
        self._ttft: dict[int, Kept] = defaultdict(Kept)
        self._e2e: dict[int, Kept] = defaultdict(Kept)
        self._late = Kept()

    def note(self, at_s: float, kind: str, outcome: str, ttft_s: float | None, e2e_s: float) -> None:
        window = int(at_s / WINDOW_S)
        self._counts[window][kind][outcome] += 1
        if kind in STREAMS and outcome == ANSWERED and ttft_s is not None:
            self._ttft[window].add(ttft_s)
            self._e2e[window].add(e2e_s)

    def late(self, by_s: float) -> None:
        """A visit began so long after it was due: the driver was busy."""
        self._late.add(by_s)

    def late_ms(self) -> float:
        return percentile(self._late.values, 0.95) * 1000 if self._late.values else 0.0

    def unexpected(self) -> dict[str, int]:
        """Outcomes that their kind should not have, by `kind: outcome`."""
        found: Counter[str] = Counter()
        for kinds in self._counts.values():
            for kind, outcomes in kinds.items():
                for outcome, count in outcomes.items():
                    if outcome not in KINDS[kind].outcomes and outcome not in FULL:
                        found[f"{kind}: {outcome}"] += count
        return dict(found)

    def windows(self) -> list[Window]:
        return [
            Window(
                number * WINDOW_S,
                {kind: dict(outcomes) for kind, outcomes in self._counts[number].items()},
                middle_and_95(self._ttft[number].values),
                middle_and_95(self._e2e[number].values),
            )
            for number in sorted(self._counts)
        ]

    def ratios(self, for_s: float) -> dict[str, float]:
        """The last third's median beside the first's, whole windows; empty where a third has none."""
        found = {}
        for name, kept in (("ttft", self._ttft), ("e2e", self._e2e)):
            thirds: list[list[float]] = [[], [], []]
            for number, each in kept.items():
                thirds[min(2, int(3 * number * WINDOW_S / for_s))] += each.values
            if thirds[0] and thirds[2]:
                found[name] = median(thirds[2]) / median(thirds[0])
        return found


def middle_and_95(values: Sequence[float]) -> list[float] | None:
    return [round(percentile(values, share) * 1000, 1) for share in (0.5, 0.95)] if values else None
