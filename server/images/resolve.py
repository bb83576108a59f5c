"""Turns the image sources of a request into checked bytes with an identity: fetch, check, identify."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import pybase64

from server.domain import ImageSource, LoadedImage, Tenant
from server.errors import BusyError, ImageError, ImageTooLarge, TooManyImages
from server.images.digest import identify
from server.images.inspect import inspect_image
from server.images.shared_fetches import SharedFetches
from server.memory import Holding
from server.metrics import Metrics

T = TypeVar("T")
WHITESPACE = str.maketrans("", "", " \t\r\n")


@dataclass(frozen=True, slots=True)
class ImageLimits:
    max_count: int
    max_bytes: int
    max_pixels: int


class ImageResolver:
    """Images reach an engine through here or not at all. Decoding has its own bounded threads."""

    def __init__(
        self,
        limits: ImageLimits,
        fetches: SharedFetches,
        metrics: Metrics,
        threads: int,
        isolate_tenants: bool,
    ) -> None:
        self._limits = limits
        self._fetches = fetches
        self._metrics = metrics
        self._isolate = isolate_tenants
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="image")

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._fetches.close()

    async def resolve(
        self, sources: tuple[ImageSource, ...], tenant: Tenant, holding: Holding
    ) -> list[LoadedImage]:
        """One loaded image a source, in order. Raises the first ImageError or BusyError and stops the others."""
        if len(sources) > self._limits.max_count:
            raise TooManyImages(
                f"The request holds {len(sources)} images; at most {self._limits.max_count} are taken.",
                sources[self._limits.max_count].path,
            )
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._resolve_one(source, tenant, holding)) for source in sources]
        except* (ImageError, BusyError) as problems:
            raise problems.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _resolve_one(self, source: ImageSource, tenant: Tenant, holding: Holding) -> LoadedImage:
        began = time.perf_counter()
        if source.url[:5].lower() == "data:":
            origin = "data"
            data = await self._in_thread(lambda: decode_data_url(source.url, self._limits.max_bytes, source.path))
        else:
            origin = "url"
            data = await self._fetch(source, tenant, holding)
        image = await self._in_thread(lambda: self._check(data, source.path, tenant))
        self._metrics.images.labels(origin, image.media_type).inc()
        self._metrics.image_bytes.observe(len(data))
        self._metrics.image_seconds.labels(origin).observe(time.perf_counter() - began)
        return image

    async def _fetch(self, source: ImageSource, tenant: Tenant, holding: Holding) -> bytes:
        try:
            return await self._fetches.get(source.url, tenant.name if self._isolate else None, holding)
        except ImageError as problem:
            raise problem.at(source.path) from problem

    def _check(self, data: bytes, path: str, tenant: Tenant) -> LoadedImage:
        seen = inspect_image(data, self._limits.max_pixels, path)
        digest = identify(data, tenant.name if self._isolate else None)
        return LoadedImage(digest, seen.media_type, seen.width, seen.height, data)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def decode_data_url(url: str, max_bytes: int, path: str) -> bytes:
    """The bytes of a base64 data URL: whitespace is tolerated, anything else outside the alphabet is not."""
    header, comma, encoded = url.partition(",")
    if not comma or not header.lower().endswith(";base64"):
        raise ImageError("An image data URL must have the form data:image/...;base64,...", path)
    encoded = encoded.translate(WHITESPACE) if any(c in encoded for c in " \t\r\n") else encoded
    if len(encoded) * 3 // 4 > max_bytes + 2:
        raise ImageTooLarge(f"The image is larger than {max_bytes} bytes.", path)
    try:
        data = pybase64.b64decode(encoded, validate=True)
    except ValueError as problem:
        raise ImageError("The image data URL is not valid base64.", path) from problem
    if not data:
        raise ImageError("The image data URL is empty.", path)
    if len(data) > max_bytes:
        raise ImageTooLarge(f"The image is larger than {max_bytes} bytes.", path)
    return data


def encode_data_url(image: LoadedImage) -> str:
    """The image as the engine takes it."""
    return f"data:{image.media_type};base64,{pybase64.b64encode_as_string(image.data)}"
