"""Bounds second tries by what is asked at all: an outage of engines must not be multiplied by us."""

import time
from collections.abc import Callable

SLOTS = 10


class RetryBudget:
    """Within any `window_s`, at most `floor` second tries and `ratio` of the requests."""

    def __init__(
        self, ratio: float, floor: int, window_s: float = 10, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ratio = ratio
        self._floor = floor
        self._slot_s = window_s / SLOTS
        self._clock = clock
        self._requests = [0] * SLOTS
        self._retries = [0] * SLOTS
        self._slot = int(clock() / self._slot_s)

    def saw_request(self) -> None:
        """Into the slot that the last `take` or `turn` has found: late by no more than one of their pauses."""
        self._requests[self._slot % SLOTS] += 1

    def take(self) -> bool:
        """Whether one more try may be made, which now is counted."""
        self.turn()
        if sum(self._retries) + 1 > self._floor + self._ratio * sum(self._requests):
            return False
        self._retries[self._slot % SLOTS] += 1
        return True

    def turn(self) -> None:
        """Forget what is older than the window. To be called every now and then."""
        slot = int(self._clock() / self._slot_s)
        for old in range(self._slot + 1, min(slot, self._slot + SLOTS) + 1):
            self._requests[old % SLOTS] = self._retries[old % SLOTS] = 0
        self._slot = slot
