"""The threads that read one tier. Each tier has its own, so that one that hangs keeps nobody from the others."""

import logging
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from server.engine.encoder_cache.entry import Embedding
from server.engine.encoder_cache.tier import Tier

logger = logging.getLogger(__name__)

MOST_WAITING = 1024


class TierReading:
    """At most MOST_WAITING keys wait; none do while every thread has been at one key for longer than `slow_s`.

    `is_wanted` is asked before a key is read, and `done` told of what was found: both in the reading thread.
    """

    def __init__(
        self,
        tier: Tier,
        is_wanted: Callable[[str], bool],
        done: Callable[[Tier, str, Embedding | None], None],
        threads: int,
        slow_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tier = tier
        self._is_wanted = is_wanted
        self._done = done
        self._slow_s = slow_s
        self._clock = clock
        self._waiting: SimpleQueue[str | None] = SimpleQueue()
        self._since: list[float | None] = [None] * threads
        self._threads = [
            threading.Thread(target=self._run, args=(n,), name=f"fovea-{tier.name}-{n}", daemon=True)
            for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, key: str) -> bool:
        """Never waits. False: it would not be read soon."""
        if self._waiting.qsize() >= MOST_WAITING or self.is_stuck():
            return False
        self._waiting.put(key)
        return True

    def is_stuck(self) -> bool:
        now = self._clock()
        return bool(self._since) and all(since is not None and now - since > self._slow_s for since in self._since)

    def close(self, until_s: float) -> None:
        """Waits for the threads at most until then (of time.monotonic)."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))

    def _run(self, n: int) -> None:
        while (key := self._waiting.get()) is not None:
            self._since[n] = self._clock()
            self.read(key)
            self._since[n] = None

    def read(self, key: str) -> None:
        found: Embedding | None = None
        try:
            if self._is_wanted(key):
                found = self._tier.get(key)
        except Exception:  # Tiers raise nothing: a bug in one must not leave vLLM waiting.
            logger.exception("A look-up in the %s tier failed", self._tier.name)
        self._done(self._tier, key, found)
