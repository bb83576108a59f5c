"""What the arena holds, by key: pinned while it is promised, else leaving in the order of `s3_fifo.py`, or in time.

The scheduler's thread asks and pins, the look-ups' threads put and free; it never waits for them, because the lock
that it takes is never held while bytes are copied or memory is allocated.
"""

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Literal

from server.engine.encoder_cache.arena import Arena
from server.engine.encoder_cache.arena_view import PAGE_BYTES, Span, pages_of
from server.engine.encoder_cache.entry import Embedding, Encoding
from server.engine.encoder_cache.s3_fifo import S3Fifo
from server.engine.encoder_cache.tier import TierName

logger = logging.getLogger(__name__)

NEVER = float("inf")
# What was brought in for a request that waits is not evicted, for what others wait for, before that can run.
GRACE_S = 1.0


@dataclass(frozen=True, slots=True)
class Held:
    """In the arena, verified. `tier` is where it came from, "host" once it has been loaded before."""

    span: Span
    shape: tuple[int, ...]
    dtype: str
    encoding: Encoding
    tier: Literal["host", "disk", "shared"]


@dataclass(slots=True)
class Kept:
    """Nobody is told of it from `expires_s` on; what was forgotten has expired since ever."""

    held: Held
    expires_s: float


@dataclass(slots=True)
class MemoryFigures:
    """Counted since the process began."""

    evicted: int = 0
    expired: int = 0
    no_room: int = 0


class HostMemory:
    """Who asks sees what is good now; what is pinned keeps its pages, whatever becomes of it. Thread-safe.

    `put` copies, `publish` shows it: in between, who puts can find out that it is not wanted any more.
    """

    def __init__(self, arena: Arena, clock: Callable[[], float] = time.monotonic) -> None:
        self._arena = arena
        self._clock = clock
        self._lock = threading.Lock()
        self._putting = threading.Lock()  # taken before the other, and never by the scheduler's thread
        self._order = S3Fifo(arena.capacity_bytes)
        self._kept: dict[str, Kept] = {}
        self._graces: OrderedDict[str, float] = OrderedDict()  # a pin of ours each, until then
        # When each expires, the first one first. What has left since may still stand here.
        self._due: list[tuple[float, str]] = []
        self._leaving: deque[tuple[Span, bool]] = deque()
        self._closed = False
        self.figures = MemoryFigures()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def held_bytes(self) -> int:
        return self._order.held_bytes

    @property
    def pinned_bytes(self) -> int:
        return self._order.pinned_bytes

    @property
    def capacity_bytes(self) -> int:
        return self._order.capacity_bytes

    def held(self, key: str) -> Held | None:
        kept = self._kept.get(key)
        return kept.held if kept is not None and kept.expires_s > self._clock() else None

    def is_free(self, key: str) -> bool:
        """Whether nothing is there, not even what workers still read; what has expired leaves."""
        with self._lock:
            self._expire(key, self._clock())
            return key not in self._kept

    def pin(self, key: str) -> Held | None:
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or kept.expires_s <= self._clock():
                return None
            self._order.pin(key)
            return kept.held

    def unpin(self, key: str, loaded: bool) -> None:
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or self._order.pins(key) <= (key in self._graces):
                logger.error("An embedding was unpinned more often than pinned")
                return
            self._order.unpin(key)
            if loaded:
                self._end_grace(key)
                self._order.touch(key)
                held = kept.held
                if held.tier != "host":
                    kept.held = Held(held.span, held.shape, held.dtype, held.encoding, "host")
            self._expire(key, self._clock())

    def put(self, key: str, found: Embedding) -> Span | None:
        """Copies it in, pinned and not shown yet: `publish` or `withdraw` follows. None where there is no room."""
        with self._putting:
            with self._lock:
                has_room = self._make_room(key, pages_of(found.data.nbytes) * PAGE_BYTES)
            if not has_room:
                return None
            self._free_leaving()
            span = self._arena.put(found.data)
        if span is None:
            self._not_put(key)
        return span

    def publish(self, key: str, found: Embedding, span: Span, tier: TierName, left_s: float) -> None:
        """From now on it is held, for so long at most, and for a moment surely."""
        now = self._clock()
        kept = Kept(Held(span, found.shape, found.dtype, found.encoding, tier), now + left_s)
        with self._lock:
            self._graces[key] = now + GRACE_S
            self._kept[key] = kept
            if kept.expires_s < NEVER:
                heappush(self._due, (kept.expires_s, key))
                self._tidy_due()

    def withdraw(self, key: str, span: Span) -> None:
        with self._lock:
            self._order.unpin(key)
            self._order.remove(key)
            self._leaving.append((span, True))

    def forget(self, key: str) -> None:
        """At once; the bytes are overwritten within a second, or when the last worker has read them."""
        with self._lock:
            if kept := self._kept.get(key):
                kept.expires_s = -NEVER
                self._expire(key, self._clock())

    def tidy(self) -> None:
        """What has expired leaves, and pages of what has left are free."""
        now = self._clock()
        with self._lock:
            self._order.capacity_bytes = self._arena.capacity_bytes
        while self._expire_next(now):
            pass
        with self._putting:
            if not self._closed:
                self._free_leaving()

    def prepare(self) -> None:
        """Ahead of time, so that who puts need not wait for memory to be allocated."""
        self._arena.prepare()

    def close(self, timeout_s: float) -> bool:
        """Nothing is put any more. Whether nothing uses the arena now: then it may be closed."""
        self._closed = True
        if not self._putting.acquire(timeout=timeout_s):
            return False
        self._putting.release()
        return True

    def _make_room(self, key: str, size: int) -> bool:
        now = self._clock()
        while self._graces and next(iter(self._graces.values())) <= now:
            self._end_grace(next(iter(self._graces)))
        left = None if self._closed else self._order.add(key, size)
        if left is None:
            self.figures.no_room += 1
            return False
        self._order.pin(key)
        self.figures.evicted += len(left)
        for gone in left:
            self._leaving.append((self._kept.pop(gone).held.span, False))
        return True

    def _not_put(self, key: str) -> None:
        """The arena could not grow: until it tries again (`tidy`), there is less room."""
        with self._lock:
            self.figures.no_room += 1
            self._order.unpin(key)
            self._order.remove(key)
            self._order.capacity_bytes = self._arena.capacity_bytes

    def _expire_next(self, now: float) -> bool:
        """Whether one was due. What is pinned leaves with its last unpin, what was forgotten has been seen to."""
        with self._lock:
            if not self._due or self._due[0][0] > now:
                return False
            self._expire(heappop(self._due)[1], now)
            return True

    def _tidy_due(self) -> None:
        """Leave out what has left. As it halves the heap, its cost is shared by as many that came."""
        if len(self._due) > 2 * len(self._kept) + 64:
            self._due = [(kept.expires_s, key) for key, kept in self._kept.items() if abs(kept.expires_s) < NEVER]
            heapify(self._due)

    def _expire(self, key: str, now: float) -> None:
        """Unless it is pinned, in which case the last unpin does."""
        kept = self._kept.get(key)
        if kept is None or kept.expires_s > now:
            return
        self._end_grace(key)
        if self._order.pins(key):
            return
        self._order.remove(key)
        del self._kept[key]
        self._leaving.append((kept.held.span, True))
        if kept.expires_s != -NEVER:
            self.figures.expired += 1

    def _end_grace(self, key: str) -> None:
        if self._graces.pop(key, None) is not None:
            self._order.unpin(key)

    def _free_leaving(self) -> None:
        while self._leaving:
            span, wiped = self._leaving.popleft()
            if wiped:
                self._arena.wipe(span)
            self._arena.free(span)
