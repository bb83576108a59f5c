"""The way of an image through the resolver: limits, identities, renditions, permits."""

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from prometheus_client import CollectorRegistry, Gauge

from server.domain import Detail, ImageSource, LoadedImage, Tenant
from server.errors import FileNotFound, ImageError, ImageTooLarge, TooManyImages, UnsupportedImage
from server.images.inspect import HeaderLimits
from server.images.rendition import PixelBudgets
from server.images.rendition_cache import RenditionCache
from server.images.resolve import ImageLimits, ImageResolver
from server.images.token_rules.qwen import QwenTokenRule
from server.images.workers import ImageWorkers
from server.memory import ByteBudget, Holding
from server.metrics import Metrics
from tests.pictures import animation, data_url, noise, picture, png_claiming

T = TypeVar("T")
RULE = QwenTokenRule(patch=16, merge=2, min_pixels=64 * 64, max_pixels=256 * 256)
HEADER = HeaderLimits(frozenset({"jpeg", "png", "webp", "gif"}), 1_000_000, 5000, 200, 10)


@dataclass
class FakeFetches:
    """Bodies by URL; takes a permit as the real one does."""

    bodies: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    async def get(self, url: str, tenant: str | None, holding: Holding) -> bytes:
        self.asked.append((url, tenant))
        await holding.take(len(self.bodies[url]))
        return self.bodies[url]

    async def close(self) -> None: ...


class FakeFiles:
    """One file of the tenant `one`."""

    async def read(self, tenant: Tenant, file_id: str, holding: Holding, path: str) -> bytes:
        if (tenant.name, file_id) != ("one", "file-1"):
            raise FileNotFound("There is no such file.", path)
        data = picture()
        await holding.take(len(data))
        return data


class CountingWorkers(ImageWorkers):
    runs = 0

    async def run(self, work: Callable[[], T]) -> T:
        self.runs += 1
        return await super().run(work)


class Scene:
    def __init__(self, isolate: bool = True, cache_bytes: int = 10**6, **limits: int) -> None:
        self.metrics = Metrics()
        self.held = Gauge("held", "bytes", registry=CollectorRegistry())
        self.budget = ByteBudget(10**7, 1, self.held)
        self.fetches = FakeFetches()
        self.files: FakeFiles | None = FakeFiles()
        self.decodes = CountingWorkers("d", 2, 5)
        chosen = {
            "max_count": 4,
            "max_bytes": 10**6,
            "max_request_bytes": 10**6,
            "max_request_pixels": 10**6,
            **limits,
        }
        self.resolver = ImageResolver(
            ImageLimits(**chosen, header=HEADER),
            PixelBudgets(RULE, 128 * 128, "high", downscale=True),
            self.fetches,  # type: ignore[arg-type]
            self.files,
            RenditionCache(cache_bytes),
            ImageWorkers("c", 2, 5),
            self.decodes,
            self.metrics,
            isolate,
        )

    async def resolve(self, *urls: str, tenant: str = "one", detail: Detail = "auto") -> list[LoadedImage]:
        sources = tuple(ImageSource(f"messages[{n}]", url, {}, detail) for n, url in enumerate(urls))
        with self.budget.hold() as holding:
            images = await self.resolver.resolve(sources, Tenant(tenant), holding)
            self.held_at_the_end = self.budget.held
            return images


async def one(scene: Scene, *urls: str, tenant: str = "one", detail: Detail = "auto") -> LoadedImage:
    return (await scene.resolve(*urls, tenant=tenant, detail=detail))[0]


SMALL = data_url(picture())
LARGE = data_url(noise("JPEG", (600, 400)))


async def test_a_picture_that_fits_is_passed_on_byte_for_byte_and_never_decoded() -> None:
    scene = Scene()
    image = await one(scene, SMALL)
    assert (base64.b64decode(image.encoded), image.media_type, image.width, image.height) == (
        picture(),
        "image/png",
        64,
        48,
    )
    assert image.notes == ()
    assert scene.decodes.runs == 0


async def test_equal_bytes_have_one_identity_whatever_they_are_called() -> None:
    scene = Scene()
    scene.fetches.bodies["https://a.example/x.gif"] = picture()
    as_jpeg = data_url(picture(), "image/jpeg")
    found = await scene.resolve(SMALL, as_jpeg, "https://a.example/x.gif")
    assert len({image.digest for image in found}) == 1


@pytest.mark.parametrize("url", [SMALL, LARGE])
async def test_tenants_share_identities_as_it_is_set(url: str) -> None:
    isolated, shared = Scene(isolate=True), Scene(isolate=False)
    assert (await one(isolated, url, tenant="a")).digest != (await one(isolated, url, tenant="b")).digest
    assert (await one(shared, url, tenant="a")).digest == (await one(shared, url, tenant="b")).digest


async def test_tenants_that_are_isolated_share_no_rendition() -> None:
    scene = Scene(isolate=True)
    for tenant in ("a", "b", "a"):
        await one(scene, LARGE, tenant=tenant)
    assert scene.decodes.runs == 2


async def test_a_large_picture_is_brought_down_once() -> None:
    scene = Scene()
    first, second = await one(scene, LARGE), await one(scene, LARGE)
    assert first == second
    assert (first.width, first.height) == RULE.resized(600, 400)
    assert first.notes == ("downscaled", "lossy")
    assert scene.decodes.runs == 1
    assert scene.metrics.image_renditions.labels("downscaled")._value.get() == 2


async def test_other_pixels_have_another_identity() -> None:
    scene = Scene()
    high, low = await one(scene, LARGE, detail="high"), await one(scene, LARGE, detail="low")
    assert high.digest != low.digest
    assert low.notes == ("low-detail", "lossy")
    assert low.width * low.height < high.width * high.height


async def test_without_room_in_the_cache_the_same_bytes_come_again() -> None:
    scene = Scene(cache_bytes=0)
    assert await one(scene, LARGE) == await one(scene, LARGE)
    assert scene.decodes.runs == 2


async def test_what_is_made_has_a_permit_for_its_bytes() -> None:
    scene = Scene()
    image = await one(scene, LARGE)
    assert scene.held_at_the_end == image.size_bytes == len(base64.b64decode(image.encoded))
    scene.fetches.bodies["https://a.example/x"] = picture()
    await one(scene, "https://a.example/x")
    assert scene.held_at_the_end == len(picture())
    assert scene.budget.held == 0


async def test_the_first_frame_of_an_animation_is_told_to_be_just_that() -> None:
    image = await one(Scene(), data_url(animation("GIF", 3)))
    assert (image.notes, image.media_type) == (("first-frame",), "image/png")


async def test_more_images_than_allowed_are_refused_before_any_is_fetched() -> None:
    scene = Scene(max_count=2)
    with pytest.raises(TooManyImages) as caught:
        await scene.resolve(*["https://a.example/x"] * 3)
    assert caught.value.param == "messages[2]"
    assert scene.fetches.asked == []


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_request_bytes": 2 * len(picture())}, "bytes in all"),
        ({"max_request_pixels": 2 * 64 * 48}, "pixels in all"),
    ],
)
async def test_a_requests_images_are_bounded_in_all(limits: dict[str, int], words: str) -> None:
    scene = Scene(**limits)
    assert len(await scene.resolve(SMALL, SMALL)) == 2
    with pytest.raises(ImageTooLarge, match=words):
        await scene.resolve(SMALL, SMALL, SMALL)


async def test_an_error_names_the_part_that_is_at_fault() -> None:
    with pytest.raises(UnsupportedImage) as caught:
        await Scene().resolve(SMALL, data_url(b"%PDF-1.7"))
    assert caught.value.param == "messages[1]"


async def test_a_picture_that_breaks_while_it_is_brought_down_is_refused_and_not_kept() -> None:
    scene = Scene()
    broken = data_url(png_claiming(600, 400))
    for _ in range(2):
        with pytest.raises(ImageError) as caught:
            await scene.resolve(broken)
        assert caught.value.param == "messages[0]"
    assert scene.budget.held == 0


async def test_a_failure_stops_the_other_images() -> None:
    scene = Scene()
    left = asyncio.Event()

    class Slow(FakeFetches):
        async def get(self, url: str, tenant: str | None, holding: Holding) -> bytes:
            try:
                await asyncio.Event().wait()
            finally:
                left.set()
            return b""

    scene.resolver._fetches = Slow()  # type: ignore[assignment]
    with pytest.raises(ImageError):
        await scene.resolve("https://a.example/x", data_url(b"nothing"))
    assert left.is_set()


@pytest.mark.parametrize("isolate", [True, False])
async def test_a_file_is_the_same_picture_as_its_bytes_and_its_own_tenants_alone(isolate: bool) -> None:
    scene = Scene(isolate=isolate)
    assert await one(scene, "file-1") == await one(scene, data_url(picture()))
    assert scene.metrics.registry.get_sample_value("fovea_images_total", {"source": "file", "format": "png"}) == 1
    assert scene.budget.held == 0
    with pytest.raises(FileNotFound) as caught:
        await scene.resolve("file-1", tenant="two")
    assert caught.value.param == "messages[0]"


async def test_a_file_that_has_become_too_large_for_the_settings_is_refused() -> None:
    with pytest.raises(ImageTooLarge) as caught:
        await one(Scene(max_bytes=len(picture()) - 1), "file-1")
    assert caught.value.param == "messages[0]"


async def test_pixels_and_the_time_of_each_stage_are_counted_where_there_was_such_a_stage() -> None:
    scene = Scene()
    metrics = scene.metrics
    await scene.resolve(SMALL, LARGE, LARGE)
    assert metrics.image_pixels.sum == 64 * 48 + 2 * 600 * 400
    stages = metrics.check_seconds, metrics.digest_seconds, metrics.decode_seconds
    assert [sum(stage.counts) for stage in stages] == [3, 3, scene.decodes.runs]
    assert all(stage.sum > 0 for stage in stages)
    with pytest.raises(UnsupportedImage):
        await scene.resolve(data_url(b"nothing"))
    assert (sum(metrics.image_pixels.counts), sum(metrics.check_seconds.counts)) == (3, 3)
