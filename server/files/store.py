"""Uploaded files: taken in, checked, kept, found again and forgotten."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from blake3 import blake3

from server.domain import Tenant, UploadedImage
from server.errors import BusyError, FileNotFound, FileQuotaExceeded, FileStoreFailed, GatewayError, ImageError
from server.files.blobs import Blobs, DiskThreads, delete_freed
from server.files.incoming import Incoming, Part
from server.files.record import (
    FILE_ID,
    Catalogue,
    FileRecord,
    Listing,
    new_blob_name,
    new_file_id,
    tenant_key,
)
from server.files.upload import Described, FileLimits, Upload
from server.memory import Holding
from server.metrics import Metrics

# What an image of a tenant's is; raises ImageError for what is none.
Inspect = Callable[[bytes, Tenant], Awaitable[UploadedImage]]


class FileStore:
    """Every file has passed `inspect` before it has an id, and is seen by its own tenant alone.

    Bytes are published before their record and deleted after it: a file that has a record can be read.
    """

    def __init__(
        self,
        limits: FileLimits,
        catalogue: Catalogue,
        blobs: Blobs,
        incoming: Incoming,
        disk: DiskThreads,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._limits = limits
        self._catalogue = catalogue
        self._blobs = blobs
        self._incoming = incoming
        self._disk = disk
        self._metrics = metrics
        self._clock = clock
        self._uploads = 0

    async def close(self) -> None:
        await self._catalogue.close()
        await self._blobs.close()
        self._incoming.close()
        self._disk.close()

    @asynccontextmanager
    async def receive(self, tenant: Tenant) -> AsyncIterator[Upload]:
        """Lend a place for one upload; what has not been kept at the end is gone.

        Raises BusyError, FileQuotaExceeded or FileStoreFailed before anything is read.
        """
        if self._uploads >= self._limits.max_uploads:
            raise BusyError("Too many uploads are under way: try again later.")
        self._uploads += 1
        outcome = "left"
        try:
            quota = self._limits.quota
            held = await self._catalogue.usage(tenant_key(tenant.name), self._now())
            if held.files >= quota.files or held.bytes >= quota.bytes:
                raise FileQuotaExceeded.of(quota.files, quota.bytes)
            part = await self._disk.run(self._incoming.begin)
            try:
                yield Upload(part, self._disk, self._limits.max_bytes, quota.bytes - held.bytes, quota)
                outcome = "stored"
            finally:
                await self._disk.run(part.discard)
        except GatewayError as problem:
            outcome = "refused" if problem.status < 500 else "failed"
            raise
        finally:
            self._uploads -= 1
            self._metrics.file_uploads.labels(outcome).inc()

    async def keep(
        self, tenant: Tenant, upload: Upload, said: Described, inspect: Inspect, holding: Holding
    ) -> FileRecord:
        """Check what has come and keep it. Raises ImageError, FileQuotaExceeded, BusyError or FileStoreFailed."""
        part = upload.part
        await self._disk.run(part.finish)
        await holding.take(part.size)
        try:
            seen = await inspect(await self._disk.run(part.read), tenant)
        except ImageError as problem:
            raise problem.at("file") from problem
        holding.give(part.size)
        now = self._now()
        record = FileRecord(
            id=new_file_id(self._clock()),
            purpose=said.purpose,
            filename=said.filename,
            media_type=seen.media_type,
            bytes=part.size,
            digest=part.digest,
            blob="",
            created_at=now,
            expires_at=now + (self._limits.ttl_s if said.ttl_s is None else said.ttl_s),
            facts=seen.facts,
        )
        record = await self._add(tenant_key(tenant.name), record, part)
        self._metrics.file_bytes.inc(part.size)
        return record

    async def _add(self, tenant: str, record: FileRecord, part: Part) -> FileRecord:
        """Where the tenant has these bytes already, no others are published."""
        quota = self._limits.quota
        known = await self._catalogue.add(tenant, record, quota, record.created_at)
        if known is not None:
            return replace(record, blob=known)
        published = replace(record, blob=new_blob_name(tenant))
        await self._blobs.publish(part, published.blob)
        try:
            kept = await self._catalogue.add(tenant, published, quota, record.created_at)
        except FileQuotaExceeded:
            await delete_freed(self._blobs, [published.blob])
            raise
        # Any other failure may have come after the record: the sweep finds out.
        if kept is None or kept == published.blob:
            return published
        await delete_freed(self._blobs, [published.blob])
        return replace(record, blob=kept)

    async def find(self, tenant: Tenant, file_id: str, path: str = "id") -> FileRecord:
        """Raises FileNotFound: another tenant's file is looked for, and found missing, as an unknown one is."""
        record = None
        if FILE_ID.fullmatch(file_id):
            record = await self._catalogue.find(tenant_key(tenant.name), file_id, self._now())
        if record is None:
            raise FileNotFound("There is no such file.", path)
        return record

    async def page(self, tenant: Tenant, wanted: Listing) -> list[FileRecord]:
        return await self._catalogue.page(tenant_key(tenant.name), wanted, self._now())

    async def remove(self, tenant: Tenant, file_id: str) -> FileRecord:
        """What is gone. Raises FileNotFound."""
        removed = None
        if FILE_ID.fullmatch(file_id):
            removed = await self._catalogue.remove(tenant_key(tenant.name), file_id, self._now())
        if removed is None:
            raise FileNotFound("There is no such file.", "id")
        self._metrics.files_removed.labels("deleted").inc()
        await delete_freed(self._blobs, removed.freed)
        return removed.record

    async def holds(self, tenant: Tenant | None, digest: str) -> bool:
        """Whether the tenant (None: anybody) has a file with these bytes. Raises FileStoreFailed or BusyError."""
        key = None if tenant is None else tenant_key(tenant.name)
        return await self._catalogue.holds(key, digest, self._now())

    async def read(self, tenant: Tenant, file_id: str, holding: Holding, path: str) -> bytes:
        """A file's bytes, for which `holding` has a permit. Raises FileNotFound, BusyError or FileStoreFailed."""
        record = await self.find(tenant, file_id, path)
        await holding.take(record.bytes)
        data = await self._blobs.read(record.blob)
        if data is None:
            await self._missing(tenant, file_id)
            raise FileNotFound("There is no such file.", path)
        if blake3(data).hexdigest() != record.digest:
            raise self._damaged()
        return data

    async def open(self, tenant: Tenant, file_id: str) -> tuple[FileRecord, AsyncGenerator[bytes, None]]:
        """A file and its bytes piece by piece: the last comes only once all are known to be right."""
        record = await self.find(tenant, file_id)
        chunks = await self._blobs.open(record.blob)
        if chunks is None:
            await self._missing(tenant, file_id)
            raise FileNotFound("There is no such file.", "id")
        return record, self._checked(record, chunks)

    async def _checked(
        self, record: FileRecord, chunks: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[bytes, None]:
        seen, last = blake3(), b""
        try:
            async for chunk in chunks:
                seen.update(chunk)
                if last:
                    yield last
                last = chunk
        finally:
            await chunks.aclose()
        if seen.hexdigest() != record.digest:
            raise self._damaged()
        yield last

    async def _missing(self, tenant: Tenant, file_id: str) -> None:
        """Bytes without a record are nothing; a record without bytes is damage, unless it went just now."""
        if await self._catalogue.find(tenant_key(tenant.name), file_id, self._now()) is not None:
            raise self._damaged()

    def _damaged(self) -> FileStoreFailed:
        self._metrics.file_failures.labels("bytes", "damaged").inc()
        return FileStoreFailed("The file's bytes are damaged.")

    def _now(self) -> int:
        return int(self._clock())
