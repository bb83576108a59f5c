"""What becomes of a deleted file's picture: every engine is told to forget it, unless a file with it remains.

Called once the file is gone and its deletion answered; nothing here can fail or delay that.
"""

import asyncio
import logging

from server.domain import Tenant
from server.engines.forgetting import ForgettingEngines
from server.engines.pool import EnginePool
from server.errors import GatewayError
from server.files.record import FileRecord
from server.files.store import FileStore
from server.images.resolve import ImageResolver
from server.metrics import Metrics

log = logging.getLogger("fovea.files")

MOST_WAITING = 10_000
PAUSES_S = (0.5, 2.0, 8.0)


class Forgetting:
    """One task looks whether the picture is still somebody's, one file after another; the rest is the engines'."""

    def __init__(
        self,
        files: FileStore,
        images: ImageResolver,
        pool: EnginePool,
        engines: ForgettingEngines,
        metrics: Metrics,
        pauses_s: tuple[float, ...] = PAUSES_S,
    ) -> None:
        self._files = files
        self._images = images
        self._pool = pool
        self._engines = engines
        self._counts = metrics.embeddings_forgotten
        self._pauses_s = pauses_s
        self._waiting: asyncio.Queue[tuple[Tenant, FileRecord]] = asyncio.Queue(MOST_WAITING)
        self._task = asyncio.create_task(self._run(), name="forgetting")

    def file_removed(self, tenant: Tenant, record: FileRecord) -> None:
        """Never waits, never raises."""
        try:
            self._waiting.put_nowait((tenant, record))
        except asyncio.QueueFull:
            self._counts.labels("given_up").inc()

    async def close(self) -> None:
        try:
            async with asyncio.timeout(2):
                await self._waiting.join()
        except TimeoutError:
            log.warning("%d deleted files were not told of to engines", self._waiting.qsize())
        self._task.cancel()
        await asyncio.wait({self._task})
        await self._engines.close()

    async def _run(self) -> None:
        while True:
            tenant, record = await self._waiting.get()
            try:
                if not await self._is_still_there(tenant, record):
                    names = self._images.forget(record.digest, record.facts, tenant)
                    self._engines.forget(self._pool.engines(), names)
            finally:
                self._waiting.task_done()

    async def _is_still_there(self, tenant: Tenant, record: FileRecord) -> bool:
        """Whose files count is whose pictures have the same names. Where the store cannot say, it is forgotten:
        what is encoded anew costs less than what stays."""
        owner = tenant if self._images.isolates_tenants else None
        for pause_s in (*self._pauses_s, None):
            try:
                return await self._files.holds(owner, record.digest)
            except GatewayError as problem:
                log.warning("forgetting: %s", problem.code)
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        return False
