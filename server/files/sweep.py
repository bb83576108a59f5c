"""Forgets what has expired, and deletes bytes that belong to nobody. All gateways of a store may do it at once."""

import asyncio
import logging
import time
from collections.abc import Callable

from server.errors import BusyError, FileStoreFailed
from server.files.blobs import Blobs, delete_freed
from server.files.record import Catalogue
from server.metrics import Metrics

log = logging.getLogger("fovea.files")

# Longer than anything may lie between the publishing of bytes and their record.
ORPHAN_AGE_S = 3600
BATCH = 200


class Sweeper:
    """Works in batches: no transaction and no request to the store grows with what there is to do."""

    def __init__(
        self, catalogue: Catalogue, blobs: Blobs, metrics: Metrics, clock: Callable[[], float] = time.time
    ) -> None:
        self._catalogue = catalogue
        self._blobs = blobs
        self._metrics = metrics
        self._clock = clock

    async def sweep(self) -> None:
        """Forget what has expired, in batches."""
        while True:
            count, freed = await self._catalogue.expire(int(self._clock()), BATCH)
            self._metrics.files_removed.labels("expired").inc(count)
            await delete_freed(self._blobs, freed)
            if count < BATCH:
                return

    async def sweep_orphans(self) -> None:
        """Delete bytes that no record names: their gateway died, or lost its store, half-way."""
        async for names in self._blobs.older_than(ORPHAN_AGE_S):
            orphans = sorted(set(names) - await self._catalogue.named(names)) if names else []
            await delete_freed(self._blobs, orphans)
            self._metrics.files_removed.labels("orphaned").inc(len(orphans))

    async def run(self, pause_s: float) -> None:
        """Sweep for ever; orphans at once, and whenever they could be old enough again."""
        next_orphans = 0.0
        while True:
            try:
                await self.sweep()
                if time.monotonic() >= next_orphans:
                    next_orphans = time.monotonic() + ORPHAN_AGE_S
                    await self.sweep_orphans()
            except (FileStoreFailed, BusyError) as problem:
                log.warning("sweep: %s", problem.code)
            await asyncio.sleep(pause_s)
