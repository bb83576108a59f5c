"""Many requests for one URL fetch it once: while it is under way, and as long as its host lets it be kept."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from server.images.fetch import Fetched, ImageFetcher
from server.images.freshness import Validators
from server.memory import ByteBudget, Holding
from server.metrics import Metrics

Key = tuple[str | None, str]
# What holds an entry together, its validators included.
ENTRY_BYTES = 1024


@dataclass(slots=True)
class Kept:
    """A body in the cache; `until` by the monotonic clock."""

    data: bytes
    validators: Validators
    until: float


@dataclass(slots=True)
class Flight:
    """A fetch under way, and how many wait for it; its permit is held until all of them have theirs."""

    task: "asyncio.Task[bytes]"
    holding: Holding
    waiting: int = 0


class SharedFetches:
    """Bodies by URL, and by tenant where these are isolated; the least recently used leave first."""

    def __init__(
        self,
        fetcher: ImageFetcher,
        budget: ByteBudget,
        most_bytes: int,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetcher = fetcher
        self._budget = budget
        self._most_bytes = most_bytes
        self._metrics = metrics
        self._clock = clock
        self._kept: OrderedDict[Key, Kept] = OrderedDict()
        self._bytes = 0
        self._flights: dict[Key, Flight] = {}

    async def close(self) -> None:
        for flight in list(self._flights.values()):
            flight.task.cancel()
        await self._fetcher.close()

    async def get(self, url: str, tenant: str | None, holding: Holding) -> bytes:
        """The body behind `url`, for whose bytes `holding` has a permit. Raises what `ImageFetcher.fetch` does."""
        key = (tenant, url)
        kept = self._kept.get(key)
        if kept is not None and self._clock() < kept.until:
            self._kept.move_to_end(key)
            self._count("cached")
            await holding.take(len(kept.data))
            return kept.data
        flight = self._flights.get(key)
        if flight is None:
            flight = self._start(key, kept)
        else:
            self._count("shared")
        flight.waiting += 1
        try:
            data = await asyncio.shield(flight.task)
            await holding.take(len(data))
            return data
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                if self._flights.get(key) is flight:
                    del self._flights[key]
                flight.task.cancel()
                flight.holding.give_all()

    def _start(self, key: Key, kept: Kept | None) -> Flight:
        holding = Holding(self._budget)
        task = asyncio.create_task(self._fly(key, kept, holding))
        flight = self._flights[key] = Flight(task, holding)
        return flight

    async def _fly(self, key: Key, kept: Kept | None, holding: Holding) -> bytes:
        began = time.perf_counter()
        try:
            fetched = await self._fetcher.fetch(key[1], kept.validators if kept else Validators(), holding)
        except Exception:
            self._count("failed")
            raise
        finally:
            self._metrics.fetch_seconds.observe(time.perf_counter() - began)
        if fetched.data is None and kept is not None:
            self._count("revalidated")
            data = kept.data
        else:
            self._count("fetched")
            data = fetched.data or b""
        self._keep(key, data, fetched)
        return data

    def _keep(self, key: Key, data: bytes, fetched: Fetched) -> None:
        self._drop(key)
        size = size_of(key, data)
        if fetched.fresh_s is None or size > self._most_bytes or not (fetched.fresh_s or fetched.validators):
            return
        self._kept[key] = Kept(data, fetched.validators, self._clock() + fetched.fresh_s)
        self._bytes += size
        while self._bytes > self._most_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= size_of(key, kept.data)

    def _count(self, outcome: str) -> None:
        self._metrics.image_fetches.labels(outcome).inc()


def size_of(key: Key, data: bytes) -> int:
    """Bytes of an entry, about: a host of a caller's own may answer any number of URLs with nothing at all."""
    return len(data) + len(key[1]) + ENTRY_BYTES
