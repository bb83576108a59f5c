"""The image path and that of videos, out of the settings."""

from dataclasses import replace

from server.files.store import FileStore
from server.images.addresses import Network
from server.images.fetch import FetchLimits, ImageFetcher
from server.images.inspect import HeaderLimits
from server.images.rendition import PixelBudgets
from server.images.rendition_cache import RenditionCache
from server.images.resolve import ImageLimits, ImageResolver
from server.images.shared_fetches import SharedFetches
from server.images.token_rules.qwen import QwenTokenRule
from server.images.videos import VideoLimits, VideoResolver
from server.images.workers import ImageWorkers
from server.memory import ByteBudget
from server.metrics import Metrics
from server.setting_sections.media import ImageSettings
from server.settings import Settings


def make_images(
    images: ImageSettings,
    rule: QwenTokenRule | None,
    files: FileStore | None,
    metrics: Metrics,
    budget: ByteBudget,
    network: Network,
) -> ImageResolver:
    fetcher = ImageFetcher(fetch_limits(images), network)
    fetches = SharedFetches(fetcher, budget, images.fetch_cache, metrics)
    limits = ImageLimits(
        max_count=images.max_count,
        max_bytes=images.max_bytes,
        max_request_bytes=images.max_request_bytes,
        max_request_pixels=images.max_request_pixels,
        header=HeaderLimits(
            formats=frozenset(images.formats),
            max_pixels=images.max_pixels,
            max_side=images.max_side,
            max_aspect=images.max_aspect,
            max_frames=images.max_frames,
        ),
    )
    return ImageResolver(
        limits,
        PixelBudgets(rule, images.low_detail_pixels, images.auto_detail, images.downscale),
        fetches,
        files,
        RenditionCache(images.rendition_cache),
        checks=ImageWorkers("check", images.check_threads, images.work_timeout_s),
        decodes=ImageWorkers("decode", images.decode_threads, images.work_timeout_s),
        metrics=metrics,
        isolate_tenants=images.isolate_tenants,
    )


def make_videos(settings: Settings, metrics: Metrics, network: Network) -> VideoResolver:
    """Videos come the way of images, under limits of their own."""
    images, video = settings.images, settings.video
    limits = replace(fetch_limits(images), max_bytes=video.max_bytes, accept="video/*")
    return VideoResolver(
        VideoLimits(video.max_count, video.max_bytes, video.max_duration_s, video.max_frames, video.max_pixels),
        ImageFetcher(limits, network),
        ImageWorkers("video", 1, images.work_timeout_s),
        metrics,
        images.isolate_tenants,
    )


def fetch_limits(images: ImageSettings) -> FetchLimits:
    return FetchLimits(
        max_bytes=images.max_bytes,
        timeout_s=images.fetch_timeout_s,
        connect_s=images.fetch_connect_s,
        first_byte_s=images.fetch_first_byte_s,
        max_redirects=images.max_redirects,
        max_fetches=images.max_fetches,
        max_per_host=images.max_fetches_per_host,
        allow_http=images.allow_http,
        allow_private_addresses=images.allow_private_addresses,
        allow_domains=images.allow_domains,
        deny_domains=images.deny_domains,
        ca_file=images.ca_file,
        default_ttl_s=images.fetch_ttl_s,
        max_ttl_s=images.fetch_max_ttl_s,
    )
