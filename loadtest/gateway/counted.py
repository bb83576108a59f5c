"""Runs `python -m server` with its counting in hand: told so by a line on stdin it counts or does not, and says
what that is made of. Each line is answered with the CPU seconds since the last one.

`mute` and `count`: instruments do nothing, or what they do. `note` writes down what is called of them, `tell` says
how often that was and how long it takes by itself. A script of its own, like `watched`, on nothing of this project
but what it is given.
"""

import json
import pkgutil
import runpy
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

Call = tuple[Callable[..., Any], tuple[Any, ...]]


class Nothing:
    """A series that counts nothing."""

    route = model = "none"

    def began(self, *_: float) -> None: ...

    def ended_well(self, *_: object) -> None: ...

    def inc(self, *_: float) -> None: ...

    def observe(self, *_: float) -> None: ...


NOTHING = Nothing()
# All that is called to count while requests are served; each stands for what is left of it when it is muted.
PLACES: dict[str, Callable[..., Any]] = {
    "server.metrics:Metrics.series_of": lambda *_: NOTHING,
    "server.metrics:Metrics.count_tokens": lambda *_: None,
    "server.metering.request_series:RequestSeries.began": lambda *_: None,
    "server.metering.request_series:RequestSeries.ended_well": lambda *_: None,
    "server.metering.loop_counter:LoopCounter.add": lambda *_: None,
    "server.metering.loop_histogram:Series.observe": lambda *_: None,
    "server.metering.loop_histogram:LoopHistogram.labels": lambda *_: NOTHING,
    "server.metering.label_classes:LabelClasses.of": lambda _, name: name,
    "prometheus_client:Counter.inc": lambda *_: None,
    "prometheus_client:Counter.labels": lambda *_: NOTHING,
    "prometheus_client:Histogram.observe": lambda *_: None,
}
MOST_NOTED = 100_000
# So often is what was noted called again, the quickest time of which counts: others take from all others.
TIMES = 21


class Counting:
    """Instruments' own methods are put aside, and put back as they were."""

    def __init__(self) -> None:
        self._own: dict[str, Callable[..., Any]] = {}
        self._noted: list[Call] = []
        self._inside = False  # of a call that is noted; those in it are part of it
        self._before_s = time.process_time()
        for place in PLACES:
            holder, name = find(place)
            self._own[place] = getattr(holder, name)

    def mute(self) -> None:
        for place, nothing in PLACES.items():
            setattr(*find(place), nothing)

    def count(self) -> None:
        for place, own in self._own.items():
            setattr(*find(place), own)

    def note(self) -> None:
        self._noted.clear()
        for place, own in self._own.items():
            setattr(*find(place), self._noting(own))

    def tell(self) -> dict[str, Any]:
        """Microseconds of all noted calls together: as they are made one after another, with nothing between."""
        self.count()
        noted = [*self._noted]
        took_s = min(replay(noted) for _ in range(TIMES)) if noted else 0.0
        calls: dict[str, int] = {}
        for work, _ in noted:
            calls[work.__qualname__] = calls.get(work.__qualname__, 0) + 1
        return {"calls": calls, "calls_us": took_s * 1e6}

    def answer(self, command: str) -> dict[str, Any]:
        told = {"cpu_s": time.process_time() - self._before_s}
        told |= getattr(self, command)() or {}
        self._before_s = time.process_time()
        return told

    def _noting(self, own: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*args: Any) -> Any:
            outermost, self._inside = not self._inside, True
            if outermost and len(self._noted) < MOST_NOTED:
                self._noted.append((own, args))
            try:
                return own(*args)
            finally:
                self._inside = not outermost

        return noting


def find(place: str) -> tuple[Any, str]:
    holder, _, name = place.rpartition(".")
    return pkgutil.resolve_name(holder), name


def replay(noted: list[Call]) -> float:
    began = time.perf_counter()
    for work, args in noted:
        work(*args)
    return time.perf_counter() - began


def answer_lines(counting: Counting) -> None:
    for line in sys.stdin:
        print(json.dumps(counting.answer(line.strip())), flush=True)


def main() -> None:
    sys.argv.pop(1)  # stages, of which there are none
    threading.Thread(target=answer_lines, args=(Counting(),), daemon=True).start()
    runpy.run_module("server", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
