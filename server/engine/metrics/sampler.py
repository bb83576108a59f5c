"""One thread reads what may take long, or hang for good: scrapes have its last readings, and hardly wait."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable

from server.engine.metrics.declared import Readings

log = logging.getLogger(__name__)

FRESH_S = 1.0
WAIT_S = 0.25
HANGS_S = 10.0


class Sampler:
    """`read` is called in the thread alone, and only while somebody asks."""

    def __init__(
        self,
        read: Callable[[], Readings],
        name: str,
        clock: Callable[[], float] = time.monotonic,
        wait_s: float = WAIT_S,
    ) -> None:
        self._read = read
        self._clock = clock
        self._wait_s = wait_s
        self._last: Readings = {}
        self._taken_s: float | None = None
        self._asked_s: float | None = None  # since when a reading is under way
        self._changed = threading.Condition()
        self._failed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def readings(self) -> Readings:
        """No older than a second, unless reading takes longer than a quarter of one; an event loop never waits."""
        with self._changed:
            now = self._clock()
            if self._asked_s is None and (self._taken_s is None or now - self._taken_s >= FRESH_S):
                self._asked_s = now
                self._changed.notify_all()
            if self._asked_s is not None and not in_event_loop():
                self._changed.wait_for(lambda: self._asked_s is None, self._asked_s + self._wait_s - now)
            return self._last

    @property
    def under_way_s(self) -> float | None:
        """For how long the reading that is under way has been; None: none is."""
        asked_s = self._asked_s
        return None if asked_s is None else self._clock() - asked_s

    @property
    def hangs(self) -> bool:
        """The last readings are too old to be told."""
        return (self.under_way_s or 0) >= HANGS_S

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._asked_s is not None)
            last = self._read_once()
            with self._changed:
                self._last, self._taken_s, self._asked_s = last, self._clock(), None
                self._changed.notify_all()

    def _read_once(self) -> Readings:
        try:
            return self._read()
        except Exception as problem:  # noqa: BLE001 - the thread must live, or nothing is read any more
            if not self._failed:
                self._failed = True
                log.warning("Some of Fovea's metrics are missing: %s: %s", type(problem).__name__, problem)
            return {}


def in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
