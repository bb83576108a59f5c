"""Which marks of deletion in the shared store were not there before, as forgotten.py has it for a folder."""

from typing import Any

from server.engine.encoder_cache.forgotten import KEPT_S, MAX_MARKS

# The store's clock may be another one's, after a failover: marks of so long before the last are asked for again.
CLOCKS_APART_US = 10_000_000


class RedisNews:
    """Times of marks are the store's, times of hearing ours: they are never compared. For one thread."""

    def __init__(self) -> None:
        self.after_us = 0
        self._heard: dict[str, tuple[int, float]] = {}

    def hear(self, marks: list[Any], now_s: float) -> None:
        """`marks` are keys and scores in turn; what a lying store says besides is passed over."""
        for name, score in zip(marks[::2], marks[1::2], strict=False):
            if not (isinstance(name, memoryview) and isinstance(score, memoryview) and bytes(score).isdigit()):
                continue
            key, at_us = bytes(name).decode("ascii", "replace"), int(score)
            if self._heard.get(key, (0, 0.0))[0] != at_us:
                self._heard[key] = (at_us, now_s)
                self.after_us = max(self.after_us, at_us - CLOCKS_APART_US)
        if len(self._heard) > MAX_MARKS or any(abs(now_s - at) > KEPT_S for _, at in self._heard.values()):
            recent = sorted(self._heard.items(), key=lambda each: each[1][1])[-MAX_MARKS:]
            self._heard = {key: heard for key, heard in recent if abs(now_s - heard[1]) <= KEPT_S}

    def since(self, when_s: float) -> list[str]:
        return [key for key, (_, heard_s) in self._heard.items() if heard_s >= when_s]
