"""Off after a failure for a while that grows, then one may try: nobody waits for a store that is lost."""

import random
import threading
import time
from collections.abc import Callable

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0


class Circuit:
    """While it is off, asking costs nothing. Of many threads one tries at a time until that has succeeded."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._pause_s = 0.0
        self._again_at = 0.0

    def begin(self) -> int | None:
        """None: not now. Else what `fail` is told, should it fail."""
        if not self._pause_s:
            return self._failures
        with self._lock:
            now = self._clock()
            if now < self._again_at:
                return None
            # Whoever else asks while this one tries is told no; should it never come back, the next may try.
            self._again_at = now + self._pause_s
            return self._failures

    def is_off(self) -> bool:
        """Changes nothing: whoever asks does not try."""
        return self._pause_s > 0 and self._clock() < self._again_at

    def succeed(self) -> bool:
        """Whether it was off until now."""
        with self._lock:
            was_off = self._pause_s > 0
            self._pause_s = 0.0
            return was_off

    def fail(self, begun: int) -> None:
        """Those that began together and fail together count as one."""
        with self._lock:
            if begun != self._failures:
                return
            self._failures += 1
            self._pause_s = min(2 * self._pause_s or FIRST_PAUSE_S, LONGEST_PAUSE_S)
            # Many engines lose one store at the same moment: they shall not all come back at the same moment.
            self._again_at = self._clock() + self._pause_s * random.uniform(0.75, 1)
