"""Which embeddings are held in host memory, and the look-ups for those that are not: the scheduler's side.

vLLM's scheduler asks `look` at every step that a request may run in, `pin`s what it promises to its workers, and
`unpin`s it when they have read it. Threads read the tiers, in order (`reading.py`), and put what they find into
`host_memory.py`. Nothing that the scheduler calls waits for them, but for `wait`: no lock is held while anything is
read or copied.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from server.engine.encoder_cache.arena import Arena
from server.engine.encoder_cache.entry import Embedding
from server.engine.encoder_cache.host_memory import NEVER, Held, HostMemory
from server.engine.encoder_cache.lookup_figures import LookupFigures
from server.engine.encoder_cache.reading import TierReading
from server.engine.encoder_cache.tier import Tier

logger = logging.getLogger(__name__)

Answer = Literal["held", "looking", "absent"]
Offer = Callable[[str, Callable[[], Embedding], int], bool]

# What was nowhere is not looked for again at every step; another engine may save it at any moment.
ABSENT_S = 1.0
MOST_ABSENT = 16_384
TIDY_EVERY_S = 1.0


@runtime_checkable
class Forgetful(Protocol):
    """A tier that hears what other processes forget: a folder that they share."""

    def forgotten_since(self, when_s: float) -> list[str]: ...


@dataclass(slots=True)
class Looking:
    """One look-up, however many ask. What was forgotten meanwhile is not kept; what was saved is not absent."""

    until_s: float
    is_late: bool = False
    forgotten: bool = False
    saved: bool = False
    over: threading.Event = field(default_factory=threading.Event)


class Lookups:
    """One look-up for a key at a time; none is waited for longer than `wait_s`. Thread-safe.

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
        self._tiers = tuple(tiers)
        self._wait_s = wait_s
        self._ttl_s = ttl_s
        self._offer = offer
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._memory = HostMemory(arena, clock)
        self._looking: dict[str, Looking] = {}
        self._absent: OrderedDict[str, float] = OrderedDict()
        self._figures = LookupFigures()
        self._heard_until_s = wall()
        self._closed = threading.Event()
        self._readings = [TierReading(tier, self._is_wanted, self._read, threads, wait_s, clock) for tier in tiers]
        if threads:
            threading.Thread(target=self._tidy, name="fovea-embeddings", daemon=True).start()

    def look(self, key: str) -> Answer:
        """Never waits. "looking" for at most `wait_s`, then "absent" (but "held" as soon as it is)."""
        if self._memory.held(key) is not None:
            return "held"
        with self._lock:
            return self._look_further(key, self._clock())

    def wait(self, key: str, timeout_s: float) -> None:
        """Until its look-up is over, if one is under way, but no longer than that."""
        if looking := self._looking.get(key):
            looking.over.wait(timeout_s)

    def held(self, key: str) -> Held | None:
        return self._memory.held(key)

    def pin(self, key: str) -> Held | None:
        """What is held, there for workers to read until as many `unpin`s."""
        return self._memory.pin(key)

    def unpin(self, key: str, loaded: bool = True) -> None:
        """`loaded` is False where nobody read it: that was no use of it."""
        self._memory.unpin(key, loaded)

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
                looking.over.set()
            self._memory.forget(key)
            self._remember_absent(key)

    @property
    def figures(self) -> LookupFigures:
        figures, memory = self._figures, self._memory
        counted = memory.figures
        figures.no_room, figures.evicted, figures.expired = counted.no_room, counted.evicted, counted.expired
        figures.entries, figures.bytes_held, figures.bytes_pinned = (
            len(memory),
            memory.held_bytes,
            memory.pinned_bytes,
        )
        figures.capacity_bytes = memory.capacity_bytes
        figures.looking, figures.remembered_absent = len(self._looking), len(self._absent)
        return figures

    def close(self, timeout_s: float = 1.0) -> bool:
        """Ends the threads, unless they hang in a tier. Whether the arena may be closed now: nothing uses it."""
        self._closed.set()
        until_s = time.monotonic() + timeout_s
        for reading in self._readings:
            reading.close(until_s)
        return self._memory.close(max(0.0, until_s - time.monotonic()))

    def tidy(self) -> None:
        """Each second: what others have forgotten and what has expired leaves; the pages of either are free."""
        for tier in self._tiers:
            if isinstance(tier, Forgetful):
                for key in tier.forgotten_since(self._heard_until_s):
                    self.forget(key)
        self._heard_until_s = self._wall()
        self._memory.tidy()

    def _tidy(self) -> None:
        self._memory.prepare()
        while not self._closed.wait(TIDY_EVERY_S):
            try:
                self.tidy()
                self._memory.prepare()
            except Exception:  # Tiers raise nothing: a bug in one must not keep pages from coming back.
                logger.exception("Tidying embeddings failed")

    def _look_further(self, key: str, now: float) -> Answer:
        if not self._memory.is_free(key):
            return "absent" if self._memory.held(key) is None else "held"
        if looking := self._looking.get(key):
            return self._still_looking(looking, now)
        if self._absent.get(key, 0.0) > now:
            return "absent"
        # Before anybody can read it: the threads ask without the lock whether it is wanted.
        self._looking[key] = Looking(now + self._wait_s)
        if not self._pass_on(key, 0):
            del self._looking[key]
            self._figures.refused += 1
            self._remember_absent(key)
            return "absent"
        self._absent.pop(key, None)
        self._figures.begun += 1
        return "looking"

    def _still_looking(self, looking: Looking, now: float) -> Answer:
        if looking.forgotten:
            return "absent"
        if now < looking.until_s:
            return "looking"
        if not looking.is_late:
            looking.is_late = True
            self._figures.late += 1
        return "absent"

    def _pass_on(self, key: str, tier: int) -> bool:
        """To the first from that tier on which can read it soon."""
        return any(reading.submit(key) for reading in self._readings[tier:])

    def _is_wanted(self, key: str) -> bool:
        """Not what has waited for so long that it is being encoded: a slow tier is not asked for still more."""
        looking = self._looking.get(key)
        return looking is not None and not looking.forgotten and self._clock() < looking.until_s

    def _read(self, tier: Tier, key: str, found: Embedding | None) -> None:
        """In the reading thread, without the lock."""
        if found is not None:
            self._found(tier, key, found)
            return
        with self._lock:
            if not (self._is_wanted(key) and self._pass_on(key, self._tiers.index(tier) + 1)):
                self._end_absent(key)

    def _found(self, tier: Tier, key: str, found: Embedding) -> None:
        left_s = self._left_s(found)
        span = self._memory.put(key, found) if left_s > 0 else None
        with self._lock:
            is_good = left_s > 0 and not self._looking[key].forgotten
            if is_good and span is not None:
                self._memory.publish(key, found, span, tier.name, left_s)
                self._end_found(key, tier)
            else:
                self._end_absent(key)
                if span is not None:
                    self._memory.withdraw(key, span)
        if is_good and self._offer is not None and tier is not self._tiers[0]:
            self._offer(key, lambda: found, found.data.nbytes)

    def _left_s(self, found: Embedding) -> float:
        """A whole life at the longest, whatever the clock of who made it."""
        return NEVER if self._ttl_s is None else min(self._ttl_s, found.created_s + self._ttl_s - self._wall())

    def _end_found(self, key: str, tier: Tier) -> None:
        self._looking.pop(key).over.set()
        if tier.name == "disk":
            self._figures.found_disk += 1
        else:
            self._figures.found_shared += 1

    def _end_absent(self, key: str) -> None:
        looking = self._looking.pop(key)
        self._figures.absent += 1
        if looking.forgotten or not looking.saved:
            self._remember_absent(key)
        looking.over.set()

    def _remember_absent(self, key: str) -> None:
        self._absent[key] = self._clock() + ABSENT_S
        self._absent.move_to_end(key)
        while len(self._absent) > MOST_ABSENT:
            self._absent.popitem(last=False)
