"""Which embeddings are held in host memory, and the look-ups for those that are not: the scheduler's side.

vLLM's scheduler asks `look` at every step that a request may run in, `pin`s what it promises to its workers, and
`unpin`s it when they have read it. Threads read the tiers (`reading.py`), in order, and put what they find into
the arena. Nothing that the scheduler calls waits for them: the one lock that it takes is never held while anything
is read, written or allocated.
"""

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

from server.engine.encoder_cache.arena import Arena
from server.engine.encoder_cache.arena_view import PAGE_BYTES, Span, pages_of
from server.engine.encoder_cache.entry import Embedding, Encoding
from server.engine.encoder_cache.reading import TierReading
from server.engine.encoder_cache.s3_fifo import S3Fifo
from server.engine.encoder_cache.tier import Tier

logger = logging.getLogger(__name__)

Answer = Literal["held", "looking", "absent"]
Offer = Callable[[str, Callable[[], Embedding], int], bool]

# What was nowhere is not looked for again at every step; another engine may save it at any moment.
ABSENT_S = 1.0
MOST_ABSENT = 16_384
FORGOTTEN_EVERY_S = 1.0
NEVER = float("inf")


@runtime_checkable
class Forgetful(Protocol):
    """A tier that hears what other processes forget: a folder that they share."""

    def forgotten_since(self, when_s: float) -> list[str]: ...


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
    """`expires_s` is in the past for what was forgotten and is still pinned: nobody is told of it any more."""

    held: Held
    expires_s: float


@dataclass(slots=True)
class Looking:
    """One look-up, however many ask. What was forgotten meanwhile is not kept; what was saved is not absent."""

    until_s: float
    is_late: bool = False
    forgotten: bool = False
    saved: bool = False


@dataclass(slots=True)
class LookupFigures:
    """Counted since the process began; from `entries` on, what is so now."""

    begun: int = 0
    found_disk: int = 0
    found_shared: int = 0
    absent: int = 0
    late: int = 0
    refused: int = 0
    no_room: int = 0
    evicted: int = 0
    expired: int = 0
    forgotten: int = 0
    entries: int = 0
    bytes_held: int = 0
    bytes_pinned: int = 0
    capacity_bytes: int = 0
    looking: int = 0


class Lookups:
    """What is pinned keeps its pages, whatever is evicted, expires or is forgotten. Thread-safe.

    `offer` is WriteBehind's of the first tier: what a later tier had is written to it, too.
    """

    def __init__(
        self,
        arena: Arena,
        tiers: Sequence[Tier],
        wait_s: float,
        threads: int = 2,
        ttl_s: float | None = None,
        offer: Offer | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._arena = arena
        self._tiers = tuple(tiers)
        self._wait_s = wait_s
        self._ttl_s = ttl_s
        self._offer = offer
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._storing = threading.Lock()
        self._order = S3Fifo(arena.capacity_bytes)
        self._kept: dict[str, Kept] = {}
        self._looking: dict[str, Looking] = {}
        self._absent: OrderedDict[str, float] = OrderedDict()
        self._leaving: deque[tuple[Span, bool]] = deque()
        self._figures = LookupFigures()
        self._heard_until_s = wall()
        self._closed = threading.Event()
        self._readings = [TierReading(tier, self._is_wanted, self._read, threads, wait_s, clock) for tier in tiers]
        self._tidying = threading.Thread(target=self._tidy, name="fovea-embeddings", daemon=True)
        if threads:
            self._tidying.start()

    def look(self, key: str) -> Answer:
        """Never waits. "looking" for at most `wait_s`, then "absent" (but "held" as soon as it is)."""
        kept = self._kept.get(key)
        if kept is not None and kept.expires_s > self._clock():
            return "held"
        with self._lock:
            return self._look_further(key, self._clock())

    def held(self, key: str) -> Held | None:
        kept = self._kept.get(key)
        return kept.held if kept is not None and kept.expires_s > self._clock() else None

    def pin(self, key: str) -> Held | None:
        """What is held, there for workers to read until as many `unpin`s."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or kept.expires_s <= self._clock():
                return None
            self._order.pin(key)
            return kept.held

    def unpin(self, key: str, loaded: bool = True) -> None:
        """`loaded` is False where nobody read it: that was no use of it."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or not self._order.pins(key):
                logger.error("An embedding was unpinned more often than pinned")
                return
            self._order.unpin(key)
            if loaded:
                self._order.touch(key)
                kept.held = replace(kept.held, tier="host")
            self._expire(key, self._clock())

    def saved(self, key: str) -> None:
        """A worker has written it to a tier: it is to be found."""
        with self._lock:
            self._absent.pop(key, None)
            if looking := self._looking.get(key):
                looking.saved = True

    def forget(self, key: str) -> None:
        """From host memory, whatever is under way. The tiers are told by whoever was asked to forget it."""
        with self._lock:
            self._figures.forgotten += 1
            if looking := self._looking.get(key):
                looking.forgotten = True
            if kept := self._kept.get(key):
                kept.expires_s = -NEVER
                self._drop(key)
            self._remember_absent(key, self._clock())

    @property
    def figures(self) -> LookupFigures:
        figures, order = self._figures, self._order
        figures.entries, figures.looking = len(self._kept), len(self._looking)
        figures.bytes_held, figures.bytes_pinned = order.held_bytes, order.pinned_bytes
        figures.capacity_bytes = order.capacity_bytes
        return figures

    def close(self, timeout_s: float = 1.0) -> bool:
        """Ends the threads, unless they hang in a tier. Whether nothing uses the arena any more: then it may be
        closed.
        """
        self._closed.set()
        until_s = time.monotonic() + timeout_s
        for reading in self._readings:
            reading.close(until_s)
        if not self._storing.acquire(timeout=max(0.0, until_s - time.monotonic())):
            return False
        self._storing.release()
        return True

    def tidy(self) -> None:
        """Each second: what others have forgotten and what has expired leaves; the pages of either are freed."""
        now = self._clock()
        for key in [key for key, kept in list(self._kept.items()) if kept.expires_s <= now]:
            with self._lock:
                self._expire(key, now)
        for tier in self._tiers:
            if isinstance(tier, Forgetful):
                for key in tier.forgotten_since(self._heard_until_s):
                    self.forget(key)
        self._heard_until_s = self._wall()
        with self._storing:
            if not self._closed.is_set():
                self._free_leaving()

    def _tidy(self) -> None:
        while not self._closed.wait(FORGOTTEN_EVERY_S):
            self.tidy()

    def _look_further(self, key: str, now: float) -> Answer:
        self._expire(key, now)
        if kept := self._kept.get(key):
            return "held" if kept.expires_s > now else "absent"
        if looking := self._looking.get(key):
            if now < looking.until_s and not looking.forgotten:
                return "looking"
            if not looking.is_late:
                looking.is_late = True
                self._figures.late += 1
            return "absent"
        if self._absent.get(key, 0.0) > now:
            return "absent"
        return self._begin(key, now)

    def _begin(self, key: str, now: float) -> Answer:
        if not self._pass_on(key, 0):
            self._figures.refused += 1
            self._remember_absent(key, now)
            return "absent"
        self._absent.pop(key, None)
        self._looking[key] = Looking(now + self._wait_s)
        self._figures.begun += 1
        return "looking"

    def _pass_on(self, key: str, tier: int) -> bool:
        """To the first from that tier on which can read it soon."""
        return any(reading.submit(key) for reading in self._readings[tier:])

    def _is_wanted(self, key: str) -> bool:
        """Not what waited for so long that it has been encoded by now: a slow tier is not asked for more."""
        looking = self._looking.get(key)
        return looking is not None and not looking.forgotten and self._clock() < looking.until_s

    def _read(self, tier: Tier, key: str, found: Embedding | None) -> None:
        """In the reading thread, without the lock."""
        if found is None:
            with self._lock:
                if not (self._is_wanted(key) and self._pass_on(key, self._tiers.index(tier) + 1)):
                    self._end_absent(key)
            return
        if self._store(tier, key, found) and tier is not self._tiers[0] and self._offer is not None:
            self._offer(key, lambda: found, found.data.nbytes)

    def _store(self, tier: Tier, key: str, found: Embedding) -> bool:
        """Whether it is wanted, were there room or not."""
        span: Span | None = None
        with self._storing:
            expires_s = self._expires_s(found)
            with self._lock:
                wanted = expires_s > self._clock() and not self._looking[key].forgotten
                has_room = wanted and self._make_room(key, pages_of(found.data.nbytes) * PAGE_BYTES)
            if has_room:
                self._free_leaving()
                span = self._arena.put(found.data)
        with self._lock:
            if has_room:
                self._order.unpin(key)
            if span is None:
                self._not_stored(key, has_room)
                return wanted
            held = Held(span, found.shape, found.dtype, found.encoding, tier.name)
            self._kept[key] = Kept(held, expires_s)
            self._count_found(tier)
            if self._looking.pop(key).forgotten:
                self._kept[key].expires_s = -NEVER
                return not self._drop(key)
        return True

    def _make_room(self, key: str, size: int) -> bool:
        """Reserved, and pinned until it is in place."""
        left = None if self._closed.is_set() else self._order.add(key, size)
        if left is None:
            self._figures.no_room += 1
            return False
        self._order.pin(key)
        self._figures.evicted += len(left)
        for gone in left:
            self._leaving.append((self._kept.pop(gone).held.span, False))
        return True

    def _not_stored(self, key: str, has_room: bool) -> None:
        if has_room:  # The arena could not become as large as it was meant to.
            self._figures.no_room += 1
            self._order.remove(key)
            self._order.capacity_bytes = self._arena.capacity_bytes
        self._end_absent(key)

    def _end_absent(self, key: str) -> None:
        looking = self._looking.pop(key)
        self._figures.absent += 1
        if not looking.saved or looking.forgotten:
            self._remember_absent(key, self._clock())

    def _remember_absent(self, key: str, now: float) -> None:
        self._absent[key] = now + ABSENT_S
        self._absent.move_to_end(key)
        while len(self._absent) > MOST_ABSENT:
            self._absent.popitem(last=False)

    def _expire(self, key: str, now: float) -> None:
        kept = self._kept.get(key)
        if kept is not None and kept.expires_s <= now and self._drop(key):
            self._figures.expired += kept.expires_s != -NEVER

    def _drop(self, key: str) -> bool:
        """Its pages are wiped and freed by a thread, which may wait. False while it is pinned."""
        if self._order.pins(key):
            return False
        self._order.remove(key)
        self._leaving.append((self._kept.pop(key).held.span, True))
        return True

    def _free_leaving(self) -> None:
        while self._leaving:
            span, wiped = self._leaving.popleft()
            if wiped:
                self._arena.wipe(span)
            self._arena.free(span)

    def _expires_s(self, found: Embedding) -> float:
        """By our clock: no later than a whole life from now, whatever the clock of who made it."""
        if self._ttl_s is None:
            return NEVER
        return self._clock() + min(self._ttl_s, found.created_s + self._ttl_s - self._wall())

    def _count_found(self, tier: Tier) -> None:
        if tier.name == "disk":
            self._figures.found_disk += 1
        else:
            self._figures.found_shared += 1
