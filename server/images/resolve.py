"""Turns the image sources of a request into checked bytes with an identity: fetch, check, identify, bring down."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import pybase64

from server.domain import ImageSource, LoadedImage, Tenant, UploadedImage
from server.errors import FilesNotEnabled, ImageError, ImageTooLarge, TooManyImages
from server.images.data_url import check_size, decode_data_url, is_data_url
from server.images.digest import identify, identify_rendition
from server.images.inspect import HeaderLimits, InspectedImage, inspect_image
from server.images.names import names_of, write_facts
from server.images.rendition import PixelBudgets, Plan, make_plan, render
from server.images.rendition_cache import RenditionCache
from server.images.shared_fetches import SharedFetches
from server.images.structure import is_looked_at_in_no_time
from server.images.workers import ImageWorkers
from server.memory import Holding
from server.metrics import Metrics
from server.record import current_record
from server.span import Span, enter

T = TypeVar("T")


class FileReader(Protocol):
    """Whoever keeps uploaded files."""

    async def read(self, tenant: Tenant, file_id: str, holding: Holding, path: str) -> bytes:
        """A file's bytes, for which `holding` has a permit. Raises a GatewayError that names `path`."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Of one request: how many images, and how many bytes and pixels in all; and of each image."""

    max_count: int
    max_bytes: int
    max_request_bytes: int
    max_request_pixels: int
    header: HeaderLimits


@dataclass(slots=True)
class Totals:
    """Bytes and pixels of the images of one request so far."""

    bytes: int = 0
    pixels: int = 0


@dataclass(frozen=True, slots=True)
class Checked:
    """What an image is, its digest, what becomes of it, its base64 where it stays as it is, and what that took."""

    seen: InspectedImage
    digest: str
    plan: Plan
    encoded: bytes | memoryview
    check_s: float
    digest_s: float


class ImageResolver:
    """Images reach an engine through here or not at all: `checks` reads headers, `decodes` makes rasters."""

    def __init__(
        self,
        limits: ImageLimits,
        budgets: PixelBudgets,
        fetches: SharedFetches,
        files: FileReader | None,
        cache: RenditionCache,
        checks: ImageWorkers,
        decodes: ImageWorkers,
        metrics: Metrics,
        isolate_tenants: bool,
    ) -> None:
        self._limits = limits
        self._budgets = budgets
        self._fetches = fetches
        self._files = files
        self._cache = cache
        self._checks = checks
        self._decodes = decodes
        self._metrics = metrics
        self._isolate = isolate_tenants

    async def close(self) -> None:
        self._checks.close()
        self._decodes.close()
        await self._fetches.close()

    async def resolve(
        self, sources: tuple[ImageSource, ...], tenant: Tenant, holding: Holding
    ) -> list[LoadedImage]:
        """One loaded image a source, in order. Raises the first GatewayError and stops the others."""
        if len(sources) > self._limits.max_count:
            raise TooManyImages(
                f"The request holds {len(sources)} images; at most {self._limits.max_count} are taken.",
                sources[self._limits.max_count].path,
            )
        totals = Totals()
        return await all_of([self._resolve_one(each, tenant, holding, totals) for each in sources])

    async def _resolve_one(
        self, source: ImageSource, tenant: Tenant, holding: Holding, totals: Totals
    ) -> LoadedImage:
        began = time.perf_counter()
        owner = tenant.name if self._isolate else None
        above = current_record().span
        span = above.stage.begin("image") if above is not None else None
        try:
            enter(span, "fetch")
            origin, data = await self._read(source, tenant, owner, holding)
            if source.inline is not None and is_looked_at_in_no_time(data):  # a thread would cost more
                checked = self._check(source, data, owner, span)
            else:
                checked = await self._checks.run(lambda: self._check(source, data, owner, span))
            seen = checked.seen
            self._add(totals, len(data), seen)
            if checked.plan.notes:
                enter(span, "decode")
                image = await self._bring_down(data, checked, owner, holding)
            else:
                image = LoadedImage(checked.digest, seen.media_type, seen.width, seen.height, checked.encoded)
        except ImageError as problem:
            if span is not None:
                span.end(problem.code)
            raise problem.at(source.path) from problem
        if span is not None:
            finish_span(span, origin, len(data), checked)
        self._count(origin, len(data), checked, time.perf_counter() - began)
        return image

    def _count(self, origin: str, size: int, checked: Checked, took_s: float) -> None:
        metrics, seen = self._metrics, checked.seen
        metrics.images.add((origin, seen.format))
        metrics.image_bytes.observe(size)
        metrics.image_pixels.observe(seen.width * seen.height)
        metrics.check_seconds.observe(checked.check_s)
        metrics.digest_seconds.observe(checked.digest_s)
        metrics.image_seconds.labels(origin).observe(took_s)

    async def _read(
        self, source: ImageSource, tenant: Tenant, owner: str | None, holding: Holding
    ) -> tuple[str, bytes]:
        """Where the image came from, and its bytes. A file is its tenant's own, whoever shares identities."""
        most = self._limits.max_bytes
        if source.inline is not None:
            check_size(source.inline.data, most)
            return "data", source.inline.data
        if is_data_url(source.url):
            return "data", await self._checks.run(lambda: decode_data_url(source.url, most))
        if not source.url.startswith("file-"):
            return "url", await self._fetches.get(source.url, owner, holding)
        if self._files is None:
            raise FilesNotEnabled("No files are kept here: the operator may set files.path.", source.path)
        data = await self._files.read(tenant, source.url, holding, source.path)
        if len(data) > self._limits.max_bytes:  # uploaded when more was taken
            raise ImageTooLarge(f"The image is larger than {self._limits.max_bytes} bytes.")
        return "file", data

    async def inspect(self, data: bytes, tenant: Tenant) -> UploadedImage:
        """Of what is an image that a request could hold. Raises ImageError or BusyError."""

        def look() -> UploadedImage:
            seen = inspect_image(data, self._limits.header)
            return UploadedImage(seen.media_type, write_facts(seen, identify(data, tenant.name)))

        return await self._checks.run(look)

    @property
    def isolates_tenants(self) -> bool:
        return self._isolate

    def forget(self, digest: str, facts: str, tenant: Tenant) -> tuple[str, ...]:
        """Nothing is kept of this picture any more. What engines may know it by, as requests are served now;
        nothing where that was not written down."""
        names = names_of(digest, facts, tenant.name if self._isolate else None, self._budgets)
        for name in names:
            self._cache.forget(name)
        return names

    def _check(self, source: ImageSource, data: bytes, owner: str | None, span: Span | None) -> Checked:
        """Often in a thread, where nothing may be counted: the times are for who can."""
        enter(span, "check")
        began = time.perf_counter()
        seen = inspect_image(data, self._limits.header)
        plan = make_plan(seen, source.detail, self._budgets)
        enter(span, "digest")
        inspected = time.perf_counter()
        digest = identify(data, owner)
        ended = time.perf_counter()
        encoded: bytes | memoryview = b""
        if not plan.notes:
            encoded = source.inline.encoded if source.inline is not None else pybase64.b64encode(data)
        return Checked(seen, digest, plan, encoded, inspected - began, ended - inspected)

    def _add(self, totals: Totals, count: int, seen: InspectedImage) -> None:
        totals.bytes += count
        totals.pixels += seen.width * seen.height
        if totals.bytes > self._limits.max_request_bytes:
            raise ImageTooLarge(
                f"The request's images have more than {self._limits.max_request_bytes} bytes in all."
            )
        if totals.pixels > self._limits.max_request_pixels:
            raise ImageTooLarge(
                f"The request's images have more than {self._limits.max_request_pixels} pixels in all."
            )

    async def _bring_down(self, data: bytes, checked: Checked, owner: str | None, holding: Holding) -> LoadedImage:
        """The rendition that is planned, made once; engines see other pixels, so it has an identity of its own."""
        plan = checked.plan
        identity = identify_rendition(checked.digest, plan.name, owner)
        made = self._cache.get(identity)
        if made is None:
            made = await self._decodes.run(lambda: render(data, checked.seen.format, plan, self._limits.max_bytes))
            self._metrics.decode_seconds.observe(made.took_s)
            self._cache.put(identity, made)
        notes = (*plan.notes, "lossy") if made.lossy else plan.notes
        for note in notes:
            self._metrics.image_renditions.labels(note).inc()
        await holding.take(len(made.data))
        encoded = await self._checks.run(lambda: pybase64.b64encode(made.data))
        return LoadedImage(identity, made.media_type, made.width, made.height, encoded, notes)


def finish_span(span: Span, origin: str, size: int, checked: Checked) -> None:
    """Numbers, and words of ours: no picture is known again by them."""
    seen, plan = checked.seen, checked.plan
    span.attributes |= {
        "fovea.image.source": origin,
        "fovea.image.format": seen.format,
        "fovea.image.bytes": size,
        "fovea.image.width": seen.width,
        "fovea.image.height": seen.height,
    }
    if plan.notes:
        span.attributes["fovea.image.changes"] = ",".join(plan.notes)
    span.end()


async def all_of(works: list[Coroutine[Any, Any, T]]) -> list[T]:
    """What each comes to, in order. The first failure is raised as it is, once the others have been stopped.

    Not by a TaskGroup: its frame and its exception hold each other, and every image with them (`api.let_go`).
    """
    if len(works) < 2:  # as most are: no task, and no turn of the loop
        return [await work for work in works]
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        tasks.clear()
