"""Which pictures an engine is believed to hold, processed, so that their names are enough (`image_url: null`).

vLLM keeps what its processor made of a picture under our digest, least recently used out first, 4 GiB by default.
We keep the same order, and learn of each miss: what was used before a picture that is gone is gone as well.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from server.domain import MediaSlot

MOST_PICTURES = 4096
# Misses weigh more than hits: where an engine keeps nothing, or each of its several processes its own, names cost a
# round trip and save nothing.
TRUST, MOST_TRUST, HIT, MISS = 4, 8, 1, -2


@dataclass(frozen=True, slots=True)
class HeldRules:
    """`most_bytes` of processed pictures are believed to be kept; an engine that misses much is not asked for
    `pause_s`."""

    most_bytes: int
    pause_s: float = 300


class HeldImages:
    """Of one engine, by digest; a digest is of one tenant, so that nobody's record answers for another's picture.

    At most `MOST_PICTURES` and `most_bytes` are remembered.
    """

    __slots__ = ("_bytes", "_clock", "_paused_until", "_rules", "_sizes", "_trust")

    def __init__(self, rules: HeldRules, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules = rules
        self._clock = clock
        # Not a dict: to find its first key costs one look for each that left before it.
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._bytes = 0
        self._trust = TRUST
        self._paused_until = 0.0

    def among(self, slots: Iterable[MediaSlot]) -> frozenset[str]:
        """The digests that names are enough for, it is believed."""
        if not self._sizes or (self._paused_until and self._clock() < self._paused_until):
            return frozenset()
        return frozenset(slot.digest for slot in slots if slot.digest in self._sizes)

    def saw(self, slots: Iterable[MediaSlot]) -> None:
        """The engine has answered a request with these, named or sent."""
        for slot in slots:
            self._bytes += slot.size - self._sizes.pop(slot.digest, 0)
            self._sizes[slot.digest] = slot.size
        while self._bytes > self._rules.most_bytes or len(self._sizes) > MOST_PICTURES:
            self._bytes -= self._sizes.popitem(last=False)[1]

    def hit(self) -> None:
        self._trust = min(self._trust + HIT, MOST_TRUST)

    def missed(self, digests: frozenset[str]) -> None:
        """The engine does not hold all of these: forget them, and what was used before the first of them.

        Where none is believed to be held, another request has missed them at the same time: that is no news.
        What is forgotten was seen once: however much is held, that is all that is looked at.
        """
        older = any(digest in self._sizes for digest in digests)
        if not older:
            return
        while older and self._sizes:
            digest, size = self._sizes.popitem(last=False)
            self._bytes -= size
            older = digest not in digests
        self.forget(digests)
        self._trust += MISS
        if self._trust <= 0:
            self._trust = TRUST
            self._paused_until = self._clock() + self._rules.pause_s

    def forget(self, digests: Iterable[str]) -> None:
        """They belong to nobody any more; this says nothing of what else the engine holds."""
        for digest in digests:
            self._bytes -= self._sizes.pop(digest, 0)

    def clear(self) -> None:
        """The engine may have been started anew."""
        self._sizes.clear()
        self._bytes = 0
