"""Where the embeddings of pictures came from, kept in vLLM's API server until the answer begins.

The connector's statistics of each step bring them there (`prometheus.py`); `inside/fovea_embeddings.py` asks.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, get_args

Outcome = Literal["gpu", "host", "disk", "shared", "miss"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
# Of an answer's life only the time until it begins counts: far more pictures than are ever waited for at once.
MOST_KEPT = 8192


class Outcomes:
    """By identifier, the latest of each; at most `most`, the oldest leave first. Used by one thread."""

    def __init__(self, most: int = MOST_KEPT, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, Outcome]] = OrderedDict()

    def note(self, outcomes: Mapping[str, Outcome]) -> None:
        """What a step has said. What is no outcome is left out: it came from another process."""
        now = self._clock()
        for identifier, outcome in outcomes.items():
            if outcome in OUTCOMES:
                self._kept[identifier] = (now, outcome)
                self._kept.move_to_end(identifier)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def of(self, identifiers: Iterable[str], since: float) -> list[Outcome] | None:
        """Of each, in order; None unless all of them have been told of since then (of time.monotonic).

        Requests that ask for the same picture at once may each be told what became of the other's.
        """
        found: list[Outcome] = []
        for identifier in identifiers:
            at, outcome = self._kept.get(identifier, (-1.0, "miss"))
            if at < since:
                return None
            found.append(outcome)
        return found


_of_this_process = Outcomes()
note = _of_this_process.note
of = _of_this_process.of
