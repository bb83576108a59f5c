"""Which embeddings leave host memory when it is full: S3-FIFO by bytes, with pins. Pure; `lookups.py` asks it.

After Yang et al., "FIFO queues are all you need for cache eviction" (SOSP 2023): what comes for the first time
waits in a small queue, and only what is used again there, or comes back soon after it left (the ghosts), enters the
main one. A pass over a whole catalogue, which nobody asks for twice, so leaves the main queue as it was.
"""

from collections import OrderedDict
from dataclasses import dataclass

SMALL_SHARE = 0.1
MOST_USES = 3
# Being brought in is for a use already: the second use is the one that tells.
USES_TO_STAY = 2
MOST_GHOSTS = 32_768


@dataclass(slots=True)
class Place:
    """Of one key in its queue."""

    size: int
    uses: int = 0
    pins: int = 0
    in_main: bool = False


class S3Fifo:
    """What is held never exceeds `capacity_bytes`; what is pinned never leaves. Not thread-safe."""

    def __init__(self, capacity_bytes: int, most_ghosts: int = MOST_GHOSTS) -> None:
        self.capacity_bytes = capacity_bytes
        self.held_bytes = 0
        self.pinned_bytes = 0
        self._small_bytes = 0
        self._idle_main_bytes = 0  # in the main queue and not pinned
        self._small: OrderedDict[str, Place] = OrderedDict()
        self._main: OrderedDict[str, Place] = OrderedDict()
        self._ghosts: OrderedDict[str, int] = OrderedDict()
        self._ghost_bytes = 0
        self._most_ghosts = most_ghosts

    def __len__(self) -> int:
        return len(self._small) + len(self._main)

    def __contains__(self, key: str) -> bool:
        return key in self._small or key in self._main

    @property
    def ghosts(self) -> int:
        return len(self._ghosts)

    def add(self, key: str, size: int) -> list[str] | None:
        """Who leaves for it. None, and nobody leaves, where what is pinned does not let it in. Raises ValueError
        for a key that is held.
        """
        if key in self or size < 1:
            raise ValueError("held already, or nothing to hold")
        left = self.make_room(size)
        if left is None:
            return None
        self.held_bytes += size
        if key in self._ghosts:
            self._ghost_bytes -= self._ghosts.pop(key)
            self._main[key] = Place(size, in_main=True)
            self._idle_main_bytes += size
        else:
            self._small[key] = Place(size)
            self._small_bytes += size
        return left

    def make_room(self, size: int) -> list[str] | None:
        if self.pinned_bytes + size > self.capacity_bytes:
            return None
        left: list[str] = []
        while self.held_bytes + size > self.capacity_bytes:
            if self._small and (self._small_bytes > self.capacity_bytes * SMALL_SHARE or not self._idle_main_bytes):
                key = self._oldest_of_small()
            else:
                key = self._oldest_of_main()
            if key is not None:
                left.append(key)
        return left

    def touch(self, key: str) -> None:
        """It was used."""
        place = self._place(key)
        if place.uses < MOST_USES:
            place.uses += 1

    def pin(self, key: str) -> None:
        """As often as it is unpinned."""
        place = self._place(key)
        if not place.pins:
            self._count_pinned(place, place.size)
        place.pins += 1

    def unpin(self, key: str) -> None:
        place = self._place(key)
        if not place.pins:
            raise ValueError("unpinned more often than pinned")
        place.pins -= 1
        if not place.pins:
            self._count_pinned(place, -place.size)

    def pins(self, key: str) -> int:
        return self._place(key).pins

    def remove(self, key: str) -> None:
        """It was deleted: no ghost stays. Not while it is pinned."""
        if self._place(key).pins:
            raise ValueError("pinned")
        place = self._small.pop(key, None)
        if place is not None:
            self._small_bytes -= place.size
        else:
            place = self._main.pop(key)
            self._idle_main_bytes -= place.size
        self.held_bytes -= place.size

    def _place(self, key: str) -> Place:
        place = self._small.get(key)
        return self._main[key] if place is None else place

    def _count_pinned(self, place: Place, size: int) -> None:
        self.pinned_bytes += size
        if place.in_main:
            self._idle_main_bytes -= size

    def _oldest_of_small(self) -> str | None:
        """Its key if it leaves; None if it goes to the main queue. What is pinned is in use, so it does."""
        key, place = self._small.popitem(last=False)
        self._small_bytes -= place.size
        if place.pins or place.uses >= USES_TO_STAY:
            place.uses, place.in_main = 0, True
            self._main[key] = place
            self._idle_main_bytes += 0 if place.pins else place.size
            return None
        self.held_bytes -= place.size
        self._remember(key, place.size)
        return key

    def _oldest_of_main(self) -> str | None:
        """Its key if it leaves; None if it was used, or is pinned, and goes to the end of the queue."""
        key, place = self._main.popitem(last=False)
        if place.pins or place.uses:
            place.uses = max(0, place.uses - 1)
            self._main[key] = place
            return None
        self.held_bytes -= place.size
        self._idle_main_bytes -= place.size
        return key

    def _remember(self, key: str, size: int) -> None:
        self._ghosts[key] = size
        self._ghost_bytes += size
        while self._ghost_bytes > self.capacity_bytes or len(self._ghosts) > self._most_ghosts:
            self._ghost_bytes -= self._ghosts.popitem(last=False)[1]
