"""The catalogue of gateways on several machines: an object a tenant, changed by compare-and-swap (ADR 8)."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TypeVar

import obstore
import orjson
from obstore.exceptions import AlreadyExistsError, PreconditionError

from server.errors import BusyError, FileQuotaExceeded
from server.files.record import FileRecord, Listing, Removed, Usage
from server.files.s3 import Bucket

T = TypeVar("T")
VERSION = 1
MOST_TRIES = 12
TENANTS_A_SWEEP = 100


class S3Catalogue:
    """`index`/TENANT.json holds a tenant's records; it is replaced only where it is still what was read."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._swept = ""

    async def usage(self, tenant: str, now: int) -> Usage:
        return used((await self._load(tenant))[0], now)

    async def find(self, tenant: str, file_id: str, now: int) -> FileRecord | None:
        records, _ = await self._load(tenant)
        return next((each for each in records if each.id == file_id and each.expires_at > now), None)

    async def page(self, tenant: str, wanted: Listing, now: int) -> list[FileRecord]:
        records, _ = await self._load(tenant)
        return select(records, wanted, now)

    async def add(self, tenant: str, record: FileRecord, quota: Usage, now: int) -> str | None:
        def change(records: list[FileRecord]) -> tuple[list[FileRecord], str | None]:
            known = next((each.blob for each in records if each.digest == record.digest), None)
            if any(each.id == record.id for each in records):  # a try of ours whose answer was lost
                return records, known
            held = used(records, now)
            if held.files + 1 > quota.files or held.bytes + record.bytes > quota.bytes:
                raise FileQuotaExceeded.of(quota.files, quota.bytes)
            blob = known or record.blob or None
            return (records, None) if blob is None else ([*records, replace(record, blob=blob)], blob)

        return await self._change(tenant, change)

    async def remove(self, tenant: str, file_id: str, now: int) -> Removed | None:
        """A try whose answer was lost may have done it: who finds nothing after a try of its own has succeeded."""
        tried: FileRecord | None = None

        def change(records: list[FileRecord]) -> tuple[list[FileRecord], Removed | None]:
            nonlocal tried
            found = next((each for each in records if each.id == file_id and each.expires_at > now), None)
            if found is None:
                return records, (Removed(tried, []) if tried else None)
            tried = found
            kept = [each for each in records if each is not found]
            return kept, Removed(found, freed(records, kept))

        return await self._change(tenant, change)

    async def holds(self, tenant: str | None, digest: str, now: int) -> bool:
        tenants = [tenant] if tenant is not None else await self._tenants_after("")
        while tenants:
            for each in tenants:
                records, _ = await self._load(each)
                if any(record.digest == digest and record.expires_at > now for record in records):
                    return True
            tenants = [] if tenant is not None else await self._tenants_after(tenants[-1])
        return False

    async def expire(self, now: int, most: int) -> tuple[int, list[str]]:
        """Some tenants a call, in turn; `most` is not exceeded by more than one tenant's files."""

        def change(records: list[FileRecord]) -> tuple[list[FileRecord], tuple[int, list[str]]]:
            kept = [each for each in records if each.expires_at > now]
            return kept, (len(records) - len(kept), freed(records, kept))

        count, blobs = 0, list[str]()
        tenants = await self._tenants_after(self._swept)
        self._swept = ""
        for position, tenant in enumerate(tenants, 1):
            gone, unnamed = await self._change(tenant, change)
            count += gone
            blobs += unnamed
            if count >= most or position == TENANTS_A_SWEEP:
                self._swept = tenant
                break
        return count, blobs

    async def named(self, blobs: Sequence[str]) -> set[str]:
        tenants = {blob.partition("/")[0] for blob in blobs}
        found = [each.blob for tenant in tenants for each in (await self._load(tenant))[0]]
        return set(found) & set(blobs)

    async def close(self) -> None:
        pass

    async def _tenants_after(self, swept: str) -> list[str]:
        """Tenants that have an index, behind the one that was swept last."""
        after = f"index/{swept}.json" if swept else None
        batches = obstore.list(self._bucket.store, "index", offset=after, chunk_size=TENANTS_A_SWEEP)
        with self._bucket.errors():
            batch: Sequence[obstore.ObjectMeta] = await anext(aiter(batches), [])
        return [each["path"].removeprefix("index/").removesuffix(".json") for each in batch]

    async def _load(self, tenant: str) -> tuple[list[FileRecord], str | None]:
        """A tenant's records in order of making, and the version that this is."""
        found = await self._bucket.get(f"index/{tenant}.json")
        if found is None:
            return [], None
        with self._bucket.errors():
            return parse_index(bytes(await found.bytes_async())), found.meta["e_tag"]

    async def _change(self, tenant: str, change: Callable[[list[FileRecord]], tuple[list[FileRecord], T]]) -> T:
        """Read, change, replace; anew where another gateway was faster."""
        for attempt in range(MOST_TRIES):
            records, version = await self._load(tenant)
            changed, result = change(records)
            if changed == records:
                return result
            content = orjson.dumps({"version": VERSION, "files": [asdict(each) for each in changed]})
            try:
                with self._bucket.errors():
                    await obstore.put_async(
                        self._bucket.store,
                        f"index/{tenant}.json",
                        content,
                        mode={"e_tag": version} if version else "create",
                    )
                return result
            except (AlreadyExistsError, PreconditionError):
                await asyncio.sleep(random.random() * 0.02 * 2 ** min(attempt, 6))
        raise BusyError("Too many files are being changed at once: try again later.")


def parse_index(content: bytes) -> list[FileRecord]:
    """Raises ValueError."""
    index = orjson.loads(content)
    if not isinstance(index, dict) or index.get("version") != VERSION:
        raise ValueError("not an index of this version")
    try:
        return [FileRecord(**each) for each in index["files"]]
    except (TypeError, KeyError) as problem:
        raise ValueError("not an index") from problem


def used(records: list[FileRecord], now: int) -> Usage:
    sizes = [each.bytes for each in records if each.expires_at > now]
    return Usage(len(sizes), sum(sizes))


def freed(before: list[FileRecord], after: list[FileRecord]) -> list[str]:
    return sorted({each.blob for each in before} - {each.blob for each in after})


def select(records: list[FileRecord], wanted: Listing, now: int) -> list[FileRecord]:
    def is_wanted(each: FileRecord) -> bool:
        if wanted.after is not None and not (
            each.id > wanted.after if wanted.order == "asc" else each.id < wanted.after
        ):
            return False
        return each.expires_at > now and wanted.purpose in (None, each.purpose)

    found = sorted(filter(is_wanted, records), key=lambda each: each.id, reverse=wanted.order == "desc")
    return found[: wanted.limit]
