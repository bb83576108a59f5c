import asyncio
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry, Gauge

from server.errors import ImageFetchFailed
from server.images.fetch import Fetched
from server.images.freshness import Validators
from server.images.shared_fetches import ENTRY_BYTES, SharedFetches
from server.memory import ByteBudget, Holding
from server.metrics import Metrics


@dataclass
class FakeFetcher:
    """Answers by URL once `open` is set; remembers who asked for what."""

    answers: dict[str, Fetched | Exception]
    asked: list[tuple[str, Validators]] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: int = 0

    async def fetch(self, url: str, known: Validators, holding: Holding) -> Fetched:
        self.asked.append((url, known))
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        answer = self.answers[url]
        if isinstance(answer, Exception):
            raise answer
        await holding.take(len(answer.data or b""))
        return answer


class Scene:
    def __init__(self, most_bytes: int = 10_000, total: int = 20_000, **answers: Fetched | Exception) -> None:
        self.metrics = Metrics()
        self.held = Gauge("held", "bytes", registry=CollectorRegistry())
        self.budget = ByteBudget(total, 1, self.held)
        self.fetcher = FakeFetcher(answers)
        self.fetcher.open.set()
        self.now = 0.0
        self.shared = SharedFetches(
            self.fetcher,  # type: ignore[arg-type]
            self.budget,
            most_bytes,
            self.metrics,
            lambda: self.now,
        )

    async def get(self, url: str, tenant: str | None = None) -> bytes:
        with self.budget.hold() as holding:
            return await self.shared.get(url, tenant, holding)

    def count(self, outcome: str) -> float:
        return self.metrics.image_fetches.labels(outcome)._value.get()

    def bytes_held(self) -> float:
        return next(iter(self.held.collect())).samples[0].value


def body(data: bytes = b"picture", fresh_s: float | None = 60, etag: str | None = None) -> Fetched:
    return Fetched(data, Validators(etag), fresh_s)


async def test_a_hundred_requests_for_one_url_fetch_it_once() -> None:
    scene = Scene(a=body())
    scene.fetcher.open.clear()
    tasks = [asyncio.create_task(scene.get("a")) for _ in range(100)]
    await asyncio.sleep(0)
    scene.fetcher.open.set()
    assert set(await asyncio.gather(*tasks)) == {b"picture"}
    assert len(scene.fetcher.asked) == 1
    assert (scene.count("fetched"), scene.count("shared")) == (1, 99)
    assert sum(scene.metrics.fetch_seconds.counts) == 1
    assert scene.bytes_held() == 0


async def test_what_is_fresh_is_not_fetched_again_and_what_is_not_is_asked_about() -> None:
    scene = Scene(a=body(etag='"1"'))
    for scene.now in (0, 59):
        assert await scene.get("a") == b"picture"
    assert len(scene.fetcher.asked) == 1
    scene.now = 60
    scene.fetcher.answers["a"] = Fetched(None, Validators('"1"'), 60)
    assert await scene.get("a") == b"picture"
    assert scene.fetcher.asked[1] == ("a", Validators('"1"'))
    scene.now = 119
    assert await scene.get("a") == b"picture"
    assert (scene.count("fetched"), scene.count("cached"), scene.count("revalidated")) == (1, 2, 1)


async def test_a_new_version_takes_the_old_ones_place() -> None:
    scene = Scene(a=body(b"old", 0, '"1"'))
    assert await scene.get("a") == b"old"
    scene.fetcher.answers["a"] = body(b"new", 60, '"2"')
    assert [await scene.get("a"), await scene.get("a")] == [b"new", b"new"]


@pytest.mark.parametrize("answer", [body(fresh_s=None), body(fresh_s=0), body(b"x" * 9000)])
async def test_what_must_not_or_cannot_be_kept_is_not(answer: Fetched) -> None:
    scene = Scene(a=answer)
    for _ in range(2):
        await scene.get("a")
    assert scene.fetcher.asked == [("a", Validators())] * 2


async def test_the_least_recently_used_leave_when_bytes_run_out() -> None:
    scene = Scene(most_bytes=2 * (ENTRY_BYTES + 11), **{name: body(name.encode() * 10) for name in "abc"})
    for name in ("a", "b", "a", "c", "a"):
        await scene.get(name)
    assert [url for url, _ in scene.fetcher.asked] == ["a", "b", "c"]
    await scene.get("b")
    assert len(scene.fetcher.asked) == 4


async def test_isolated_tenants_do_not_learn_of_each_others_fetches() -> None:
    scene = Scene(a=body())
    for tenant in ("x", "y", "x", None):
        await scene.get("a", tenant)
    assert len(scene.fetcher.asked) == 3


async def test_a_failure_is_everybodys_and_not_kept() -> None:
    scene = Scene(a=ImageFetchFailed("gone"))
    scene.fetcher.open.clear()
    tasks = [asyncio.create_task(scene.get("a")) for _ in range(3)]
    await asyncio.sleep(0)
    scene.fetcher.open.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in found] == [ImageFetchFailed] * 3
    scene.fetcher.answers["a"] = body()
    assert await scene.get("a") == b"picture"
    assert scene.bytes_held() == 0


async def test_a_fetch_goes_on_for_those_who_stay_and_ends_with_the_last() -> None:
    scene = Scene(a=body())
    scene.fetcher.open.clear()
    leaves, stays = (asyncio.create_task(scene.get("a")) for _ in range(2))
    await asyncio.sleep(0)
    leaves.cancel()
    await asyncio.sleep(0)
    assert scene.fetcher.cancelled == 0
    stays.cancel()
    await asyncio.gather(leaves, stays, return_exceptions=True)
    await asyncio.sleep(0)
    assert scene.fetcher.cancelled == 1
    scene.fetcher.open.set()
    assert await scene.get("a") == b"picture"
    assert scene.bytes_held() == 0


async def test_bodies_of_no_bytes_do_not_pile_up() -> None:
    names = [f"https://a.example/{n}" for n in range(50)]
    scene = Scene(most_bytes=5 * ENTRY_BYTES, **{name: body(b"") for name in names})
    for name in names:
        await scene.get(name)
    for name in names[:40]:
        await scene.get(name)
    assert scene.count("fetched") == 90
