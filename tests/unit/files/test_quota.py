"""Whatever is put, deleted and left to expire, in whatever order: what is counted is what is there."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import FileNotFound, FileQuotaExceeded
from server.files.record import FileRecord, Listing, Usage, tenant_key
from tests.unit.files.stores import ANN, BOB, KINDS, Shop, open_shop

QUOTA = Usage(4, 60)
OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "remove", "wait", "sweep"]),
        st.sampled_from([ANN, BOB]),
        st.integers(0, 5),
        st.integers(1, 3),
    ),
    max_size=25,
)


class Model:
    """The same in memory: a tenant's files, oldest first."""

    def __init__(self) -> None:
        self.files: dict[str, list[tuple[FileRecord, bytes]]] = {"ann": [], "bob": []}

    def live(self, tenant: str, now: float) -> list[tuple[FileRecord, bytes]]:
        return [each for each in self.files[tenant] if each[0].expires_at > int(now)]

    def usage(self, tenant: str, now: float) -> Usage:
        sizes = [len(data) for _, data in self.live(tenant, now)]
        return Usage(len(sizes), sum(sizes))


async def play(shop: Shop, operations: list[tuple[str, object, int, int]]) -> None:
    model = Model()
    for kind, tenant, number, amount in operations:
        name: str = tenant.name  # type: ignore[attr-defined]
        if kind == "put":
            data = bytes([65 + number]) * (10 * amount)
            held = model.usage(name, shop.now[0])
            fits = held.files < QUOTA.files and held.bytes + len(data) <= QUOTA.bytes
            try:
                record = await shop.put(data, tenant, ttl_s=3600 * amount)  # type: ignore[arg-type]
                assert fits
                model.files[name].append((record, data))
            except FileQuotaExceeded:
                assert not fits
        elif kind == "remove" and model.files[name]:
            record, data = model.files[name][number % len(model.files[name])]
            alive = (record, data) in model.live(name, shop.now[0])
            try:
                await shop.store.remove(tenant, record.id)  # type: ignore[arg-type]
                assert alive
                model.files[name].remove((record, data))
            except FileNotFound:
                assert not alive
        elif kind == "wait":
            shop.now[0] += 1800 * amount
        elif kind == "sweep":
            await shop.sweeper.sweep()
            model.files = {name: model.live(name, shop.now[0]) for name in model.files}
            assert len(await shop.stored()) == sum(len({d for _, d in each}) for each in model.files.values())
        await check(shop, model)


async def check(shop: Shop, model: Model) -> None:
    for tenant in (ANN, BOB):
        live = model.live(tenant.name, shop.now[0])
        held = await shop.catalogue.usage(tenant_key(tenant.name), int(shop.now[0]))
        assert held == model.usage(tenant.name, shop.now[0])
        assert held.files <= QUOTA.files
        assert held.bytes <= QUOTA.bytes
        page = await shop.store.page(tenant, Listing(None, 99, "asc", None))
        assert [record.id for record in page] == [record.id for record, _ in live]
        for record, data in live:
            assert await shop.read(record, tenant) == data
        shop.holding.give_all()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(KINDS), OPERATIONS)
def test_the_quota_counts_what_is_there(kind: str, operations: list[tuple[str, object, int, int]]) -> None:
    async def scene(folder: str) -> None:
        async with open_shop(kind, Path(folder), QUOTA) as shop:
            await play(shop, operations)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(scene(folder))
