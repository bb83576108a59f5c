"""Turns the video sources of a request into bytes with an identity: fetched as images are, walked, not decoded."""

from dataclasses import dataclass

import pybase64

from server.domain import ImageSource, LoadedVideo, Tenant
from server.errors import (
    ImageError,
    ImageFetchFailed,
    ImageTooLarge,
    ImageUrlRefused,
    TooManyVideos,
    VideoError,
    VideoFetchFailed,
    VideosNotTaken,
    VideoTooLarge,
    VideoTooLong,
    VideoUrlRefused,
)
from server.images.containers import read_container
from server.images.data_url import decode_data_url, is_data_url
from server.images.digest import identify
from server.images.fetch import ImageFetcher
from server.images.freshness import Validators
from server.images.walking import Unreadable
from server.images.workers import ImageWorkers
from server.memory import Holding
from server.metrics import Metrics

# What a fetch or a data URL may raise, the first that fits.
AS_VIDEO: tuple[tuple[type[ImageError], type[VideoError]], ...] = (
    (ImageUrlRefused, VideoUrlRefused),
    (ImageFetchFailed, VideoFetchFailed),
    (ImageTooLarge, VideoTooLarge),
    (ImageError, VideoError),
)


@dataclass(frozen=True, slots=True)
class VideoLimits:
    """`max_frames` and `max_pixels` (of one frame) are held against what the container claims."""

    max_count: int
    max_bytes: int
    max_duration_s: float
    max_frames: int
    max_pixels: int


class VideoResolver:
    """Videos reach an engine through here or not at all."""

    def __init__(
        self,
        limits: VideoLimits,
        fetcher: ImageFetcher,
        workers: ImageWorkers,
        metrics: Metrics,
        isolate_tenants: bool,
    ) -> None:
        self._limits = limits
        self._fetcher = fetcher
        self._workers = workers
        self._metrics = metrics
        self._isolate = isolate_tenants

    async def close(self) -> None:
        self._workers.close()
        await self._fetcher.close()

    async def resolve(
        self, sources: tuple[ImageSource, ...], tenant: Tenant, holding: Holding
    ) -> list[LoadedVideo]:
        """One video a source, in order and one after the other. Raises VideoError or BusyError."""
        most = self._limits.max_count
        if len(sources) > most:
            if not most:
                raise VideosNotTaken("Videos are not taken here: send pictures of it.", sources[0].path)
            raise TooManyVideos(
                f"The request holds {len(sources)} videos; at most {most} are taken.", sources[most].path
            )
        owner = tenant.name if self._isolate else None
        return [await self._resolve_one(source, owner, holding) for source in sources]

    async def _resolve_one(self, source: ImageSource, owner: str | None, holding: Holding) -> LoadedVideo:
        try:
            origin, data = await self._read(source, holding)
            video = await self._workers.run(lambda: self._check(data, owner))
        except VideoError as problem:
            raise type(problem)(problem.message, source.path) from problem
        except ImageError as problem:
            raise as_video(problem, source.path) from problem
        self._metrics.videos.add((origin, video.media_type))
        return video

    async def _read(self, source: ImageSource, holding: Holding) -> tuple[str, bytes]:
        if is_data_url(source.url):
            most = self._limits.max_bytes
            return "data", await self._workers.run(lambda: decode_data_url(source.url, most))
        fetched = await self._fetcher.fetch(source.url, Validators(), holding)
        return "url", fetched.data or b""

    def _check(self, data: bytes, owner: str | None) -> LoadedVideo:
        try:
            container = read_container(data)
        except Unreadable as problem:
            raise VideoError(str(problem)) from problem
        claims, limits = container.claims, self._limits
        if claims.duration_s > limits.max_duration_s:
            raise VideoTooLong(
                f"The video is {claims.duration_s:.1f} s long; at most {limits.max_duration_s:g} s are taken."
            )
        if claims.frames > limits.max_frames:
            raise VideoTooLong(f"The video has {claims.frames} pictures; at most {limits.max_frames} are taken.")
        if claims.pixels > limits.max_pixels:
            raise VideoTooLarge(
                f"The video's pictures have {claims.pixels} pixels; at most {limits.max_pixels} are taken."
            )
        return LoadedVideo(identify(data, owner), container.media_type, pybase64.b64encode(data), len(data))


def as_video(problem: ImageError, path: str) -> VideoError:
    """The same of a video; the texts are ours, and hold nothing of a caller's."""
    kind = next(video for image, video in AS_VIDEO if isinstance(problem, image))
    text = problem.message.replace("Image", "Video").replace("image", "video").replace("An video", "A video")
    return kind(text, path)
