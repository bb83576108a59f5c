"""File stores for tests: the embedded one in a folder, and the S3 one over a bucket in memory."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from obstore.store import MemoryStore
from prometheus_client import CollectorRegistry, Gauge

from server.domain import Tenant, UploadedImage
from server.files.blobs import Blobs, DiskThreads, FolderBlobs
from server.files.incoming import Incoming
from server.files.record import Catalogue, FileRecord, Usage
from server.files.s3 import Bucket, S3Blobs
from server.files.s3_catalogue import S3Catalogue
from server.files.sqlite_catalogue import SqliteCatalogue
from server.files.store import FileStore, Inspect
from server.files.sweep import Sweeper
from server.files.upload import Described, FileLimits
from server.memory import ByteBudget, Holding
from server.metrics import Metrics

ANN, BOB = Tenant("ann"), Tenant("bob")
KINDS = ("folder", "s3")


async def accept(data: bytes, tenant: Tenant) -> UploadedImage:
    return UploadedImage("image/png", f"facts of {tenant.name}")


def make_holding() -> Holding:
    gauge = Gauge("held", "bytes", registry=CollectorRegistry())
    return Holding(ByteBudget(1024**2, 1, gauge))


@dataclass
class Shop:
    """A store and its parts. `now` is its clock."""

    store: FileStore
    sweeper: Sweeper
    catalogue: Catalogue
    blobs: Blobs
    metrics: Metrics
    now: list[float] = field(default_factory=lambda: [1_000_000.0])
    holding: Holding = field(default_factory=make_holding)

    async def put(
        self, data: bytes, tenant: Tenant = ANN, ttl_s: int | None = None, inspect: Inspect = accept
    ) -> FileRecord:
        async with self.store.receive(tenant) as upload:
            await upload.write([data[:3], data[3:]])
            said = Described("a.png", "vision", ttl_s)
            return await self.store.keep(tenant, upload, said, inspect, self.holding)

    async def read(self, record: FileRecord, tenant: Tenant = ANN) -> bytes:
        return await self.store.read(tenant, record.id, self.holding, "path")

    async def stored(self) -> set[str]:
        """All blobs there are, named or not."""
        return {name async for names in self.blobs.older_than(-10) for name in names}

    def count(self, sample: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(sample, labels) or 0.0


@asynccontextmanager
async def open_shop(
    kind: str,
    folder: Path,
    quota: Usage = Usage(10, 1000),  # noqa: B008
    bucket: MemoryStore | None = None,
    max_uploads: int = 4,
    wrap: Callable[[Blobs], Blobs] = lambda blobs: blobs,
) -> AsyncIterator[Shop]:
    """One gateway's store. Give `bucket` to let several share it; those with one `folder` always do."""
    metrics = Metrics()
    disk = DiskThreads(metrics)
    incoming = Incoming.open(folder / "incoming")
    if kind == "folder":
        blobs: Blobs = FolderBlobs(folder / "blobs", disk)
        catalogue: Catalogue = SqliteCatalogue(folder / "catalogue.sqlite", metrics)
    else:
        remote = Bucket(bucket or MemoryStore(), metrics)
        blobs, catalogue = S3Blobs(remote), S3Catalogue(remote)
    blobs = wrap(blobs)
    now = [1_000_000.0]

    def clock() -> float:
        now[0] += 0.001  # ids sort by time
        return now[0]

    limits = FileLimits(500, max_uploads, 86400, quota)
    store = FileStore(limits, catalogue, blobs, incoming, disk, metrics, clock)
    try:
        yield Shop(store, Sweeper(catalogue, blobs, metrics, clock), catalogue, blobs, metrics, now)
    finally:
        await store.close()
