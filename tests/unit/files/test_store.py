import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from server.domain import Tenant, UploadedImage
from server.errors import (
    BusyError,
    FileNotFound,
    FileQuotaExceeded,
    FileStoreFailed,
    FileTooLarge,
    UnsupportedImage,
)
from server.files.blobs import Blobs
from server.files.record import FileRecord, Listing, Usage, tenant_key
from tests.unit.files.stores import ANN, BOB, KINDS, Shop, open_shop


@pytest.fixture(params=KINDS)
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(request.param, tmp_path) as opened:
        yield opened


async def pages(shop: Shop, limit: int, order: str, purpose: str | None = None) -> list[list[str]]:
    found: list[list[str]] = []
    after = None
    while True:
        page = await shop.store.page(ANN, Listing(purpose, limit, order, after))  # type: ignore[arg-type]
        if not page:
            return found
        found.append([record.id for record in page])
        after = page[-1].id


async def test_what_was_put_is_read_back_whole_and_piece_by_piece(shop: Shop) -> None:
    record = await shop.put(b"picture")
    assert (record.bytes, record.filename, record.media_type) == (7, "a.png", "image/png")
    assert await shop.read(record) == b"picture"
    found, chunks = await shop.store.open(ANN, record.id)
    assert (found, b"".join([chunk async for chunk in chunks])) == (record, b"picture")


async def test_equal_bytes_of_a_tenant_lie_there_once_until_the_last_file_is_deleted(shop: Shop) -> None:
    first, second = await shop.put(b"same"), await shop.put(b"same")
    other = await shop.put(b"same", BOB)
    assert first.id != second.id
    assert len(await shop.stored()) == 2  # one of each tenant
    await shop.store.remove(ANN, first.id)
    assert await shop.read(second) == b"same"
    assert len(await shop.stored()) == 2
    await shop.store.remove(ANN, second.id)
    assert len(await shop.stored()) == 1
    assert await shop.read(other, BOB) == b"same"


async def test_a_file_that_is_removed_says_what_it_was(shop: Shop) -> None:
    record = await shop.put(b"picture")
    assert record.facts == "facts of ann"
    assert await shop.store.remove(ANN, record.id) == record


async def test_whose_bytes_are_still_there_is_known_as_long_as_a_file_with_them_is(shop: Shop) -> None:
    first, second = await shop.put(b"same"), await shop.put(b"same", ttl_s=100)
    other = await shop.put(b"same", BOB)
    await shop.put(b"else")
    await shop.store.remove(ANN, first.id)
    assert await shop.store.holds(ANN, second.digest)
    shop.now[0] += 200  # the second has expired, and is not swept
    assert not await shop.store.holds(ANN, second.digest)
    assert await shop.store.holds(BOB, second.digest)
    assert await shop.store.holds(None, second.digest)
    await shop.store.remove(BOB, other.id)
    assert not await shop.store.holds(None, second.digest)


async def test_another_tenants_file_is_as_unknown_as_none(shop: Shop) -> None:
    record = await shop.put(b"mine")
    told = []
    for file_id in (record.id, "file-" + "0" * 44, "file-", "file-" + "0" * 43 + "\n"):
        for act in (shop.store.find, shop.store.remove, shop.store.open):
            with pytest.raises(FileNotFound) as caught:
                await act(BOB, file_id)
            told.append((caught.value.message, caught.value.param))
    assert set(told) == {("There is no such file.", "id")}
    with pytest.raises(FileNotFound) as caught:
        await shop.store.read(BOB, record.id, shop.holding, "messages[0]")
    assert caught.value.param == "messages[0]"
    assert await shop.store.page(BOB, Listing(None, 10, "asc", None)) == []
    assert await shop.read(record) == b"mine"


async def test_pages_follow_each_other_both_ways_even_from_a_file_that_is_gone(shop: Shop) -> None:
    ids = [(await shop.put(b"%d" % n)).id for n in range(5)]
    assert await pages(shop, 2, "asc") == [ids[:2], ids[2:4], ids[4:]]
    assert await pages(shop, 2, "desc") == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]
    assert await pages(shop, 9, "asc", "user_data") == []
    await shop.store.remove(ANN, ids[2])
    page = await shop.store.page(ANN, Listing("vision", 10, "asc", ids[2]))
    assert [record.id for record in page] == ids[3:]


async def test_a_file_is_gone_the_moment_it_expires_and_its_bytes_at_the_next_sweep(shop: Shop) -> None:
    short, long = await shop.put(b"short", ttl_s=3600), await shop.put(b"long")
    shop.now[0] += 3600
    with pytest.raises(FileNotFound):
        await shop.store.find(ANN, short.id)
    with pytest.raises(FileNotFound):
        await shop.store.remove(ANN, short.id)
    assert [record.id for record in await shop.store.page(ANN, Listing(None, 10, "asc", None))] == [long.id]
    assert await shop.catalogue.usage(tenant_key("ann"), int(shop.now[0])) == Usage(1, 4)
    assert len(await shop.stored()) == 2
    await shop.sweeper.sweep()
    assert len(await shop.stored()) == 1
    assert shop.count("fovea_files_removed_total", reason="expired") == 1
    assert await shop.read(long) == b"long"


async def test_expired_files_are_forgotten_in_batches(shop: Shop, tmp_path: Path) -> None:
    for n in range(7):
        await shop.put(b"%d" % n, ANN if n % 2 else BOB, ttl_s=3600)
    shop.now[0] += 4000
    counts = []
    while True:
        count, blobs = await shop.catalogue.expire(int(shop.now[0]), 3)
        if not count:
            break
        assert len(blobs) == count
        counts.append(count)
    assert sum(counts) == 7
    assert len(counts) >= 2


@pytest.mark.parametrize("kind", KINDS)
async def test_more_files_or_bytes_than_the_quota_are_refused_and_leave_nothing(kind: str, tmp_path: Path) -> None:
    async with open_shop(kind, tmp_path, Usage(3, 20)) as shop:
        await shop.put(b"x" * 15)
        with pytest.raises(FileQuotaExceeded):
            await shop.put(b"y" * 6)
        await shop.put(b"y" * 5)
        with pytest.raises(FileQuotaExceeded):
            await shop.put(b"z")
        await shop.put(b"z", BOB)
        assert len(await shop.stored()) == 3
        assert shop.count("fovea_files_uploads_total", outcome="refused") == 2
    async with open_shop(kind, tmp_path / "other", Usage(2, 1000)) as shop:
        first = await shop.put(b"1")
        await shop.put(b"1")
        with pytest.raises(FileQuotaExceeded):
            await shop.put(b"1")
        await shop.store.remove(ANN, first.id)
        await shop.put(b"3")


async def test_a_file_over_the_cap_is_refused_while_it_comes(shop: Shop) -> None:
    await shop.put(b"x" * 500)
    with pytest.raises(FileTooLarge):
        await shop.put(b"x" * 501)
    assert len(await shop.stored()) == 1


async def test_what_is_no_image_is_refused_and_leaves_nothing(shop: Shop, tmp_path: Path) -> None:
    async def refuse(data: bytes, tenant: Tenant) -> UploadedImage:
        raise UnsupportedImage("no")

    with pytest.raises(UnsupportedImage):
        await shop.put(b"text", inspect=refuse)
    assert await shop.stored() == set()
    assert list(tmp_path.glob("incoming/*/*.part")) == []
    assert shop.count("fovea_files_uploads_total", outcome="refused") == 1


async def test_more_uploads_at_once_than_are_taken_are_told_to_wait(tmp_path: Path) -> None:
    async with open_shop("folder", tmp_path, max_uploads=1) as shop:
        async with shop.store.receive(ANN):
            with pytest.raises(BusyError, match="Too many uploads"):
                await shop.put(b"x")
        await shop.put(b"x")
        assert shop.count("fovea_files_uploads_total", outcome="stored") == 2


async def test_an_upload_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    async def leave(data: bytes, tenant: Tenant) -> UploadedImage:
        raise asyncio.CancelledError

    async with open_shop("folder", tmp_path) as shop:
        with pytest.raises(asyncio.CancelledError):
            await shop.put(b"x" * 100, inspect=leave)
        assert list(tmp_path.glob("incoming/*/*.part")) == []
        assert await shop.stored() == set()
        assert shop.count("fovea_files_uploads_total", outcome="left") == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_gateways_that_share_a_store_see_each_others_files_and_one_quota(kind: str, tmp_path: Path) -> None:
    bucket = MemoryStore()
    quota = Usage(12, 1000)
    async with (
        open_shop(kind, tmp_path, quota, bucket) as one,
        open_shop(kind, tmp_path, quota, bucket) as two,
    ):
        found = await asyncio.gather(
            *((one, two)[n % 2].put(b"%d" % (n % 5)) for n in range(8)),
            return_exceptions=True,
        )
        found += await asyncio.gather(
            *((one, two)[n % 2].put(b"%d" % (n % 5)) for n in range(8)),
            return_exceptions=True,
        )
        kept = [each for each in found if isinstance(each, FileRecord)]
        assert len(kept) == 12 - sum(isinstance(each, BusyError) for each in found)
        assert {each.id for each in await two.store.page(ANN, Listing(None, 99, "asc", None))} == {
            each.id for each in kept
        }
        assert len(await one.stored()) == 5
        removed = await asyncio.gather(
            *(shop.store.remove(ANN, each.id) for each in kept for shop in (one, two)), return_exceptions=True
        )
        # Of two who delete one file at once on S3, both may be told that they did.
        told = sum(isinstance(each, FileRecord) for each in removed)
        assert told == len(kept) if kind == "folder" else told >= len(kept)
        assert all(isinstance(each, FileRecord | FileNotFound) for each in removed)
        assert await two.stored() == set()


async def test_damaged_bytes_are_never_handed_out_whole(shop: Shop, tmp_path: Path) -> None:
    record = await shop.put(b"picture")
    (name,) = await shop.stored()
    async with shop.store.receive(ANN) as upload:
        await upload.write([b"PICTURE"])
        upload.part.finish()
        await shop.blobs.publish(upload.part, name)
    with pytest.raises(FileStoreFailed):
        await shop.read(record)
    _, chunks = await shop.store.open(ANN, record.id)
    with pytest.raises(FileStoreFailed):
        [chunk async for chunk in chunks]
    await shop.blobs.delete([name])
    with pytest.raises(FileStoreFailed):
        await shop.read(record)
    assert shop.count("fovea_files_failures_total", place="bytes", kind="damaged") == 3


class FailsToPublish:
    """Blobs whose store takes the bytes and then dies."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self.publishing = True

    def __getattr__(self, name: str) -> object:
        return getattr(self._blobs, name)

    async def publish(self, part: object, name: str) -> None:
        await self._blobs.publish(part, name)  # type: ignore[arg-type]
        raise FileStoreFailed("gone")


@pytest.mark.parametrize("kind", KINDS)
async def test_bytes_of_a_gateway_that_died_half_way_are_swept_once_they_are_old(kind: str, tmp_path: Path) -> None:
    async with open_shop(kind, tmp_path, wrap=FailsToPublish) as shop:  # type: ignore[arg-type]
        with pytest.raises(FileStoreFailed):
            await shop.put(b"lost")
        assert await shop.store.page(ANN, Listing(None, 10, "asc", None)) == []
        (orphan,) = await shop.stored()
        await shop.sweeper.sweep_orphans()
        assert await shop.stored() == {orphan}
        assert shop.count("fovea_files_uploads_total", outcome="failed") == 1


async def test_old_orphans_go_and_old_files_stay(tmp_path: Path) -> None:
    async with open_shop("folder", tmp_path) as shop:
        record = await shop.put(b"kept")
        (named,) = await shop.stored()
        orphan = tmp_path / "blobs" / tenant_key("ann") / "0123"
        orphan.write_bytes(b"lost")
        for path in (orphan, tmp_path / "blobs" / named):
            os.utime(path, (time.time() - 9999, time.time() - 9999))
        await shop.sweeper.sweep_orphans()
        assert await shop.stored() == {named}
        assert await shop.read(record) == b"kept"
        assert shop.count("fovea_files_removed_total", reason="orphaned") == 1


async def test_the_permit_for_a_files_bytes_is_taken_before_they_are_read(tmp_path: Path) -> None:
    async with open_shop("folder", tmp_path) as shop:
        record = await shop.put(b"x" * 400)
        await shop.holding.take(1024**2 - 399)
        with pytest.raises(BusyError):
            await shop.read(record)
        shop.holding.give_all()
        assert await shop.read(record) == b"x" * 400
        shop.holding.give_all()
        await shop.holding.take(1024**2 - 499)
        with pytest.raises(BusyError):
            await shop.put(b"y" * 500)
