"""What is counted of pictures and videos, from where they came to what engines are sent."""

from server.domain import IMAGE_CACHE
from server.metering.declaring import Declarations
from server.metering.labels import SOURCE, Label
from server.metering.requests import SECONDS

BYTES = tuple(float(4**n * 1024) for n in range(9))
PIXELS = tuple(float(4**n * 1024) for n in range(1, 9))
TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
# Of work on one image: a header is read in a tenth of a millisecond, a raster drawn in a tenth of a second.
STAGE_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
STAGES = ("fetch", "check", "digest", "decode")


class ImageMetrics:
    def __init__(self, declare: Declarations) -> None:
        self.images = declare.loop_counter(
            "fovea_images",
            "Images accepted, by where they came from",
            SOURCE,
            Label("format", ("jpeg", "png", "webp", "gif", "avif", "tiff", "heic")),
        )
        self.videos = declare.loop_counter(
            "fovea_videos",
            "Videos accepted, by where they came from",
            SOURCE,
            Label("format", ("video/mp4", "video/webm")),
        )
        self.image_fetches = declare.counter(
            "fovea_image_fetches",
            "Images by URL: fetched anew, found unchanged at their host, still fresh here, shared with a fetch "
            "under way, or failed",
            Label("outcome", ("fetched", "revalidated", "cached", "shared", "failed")),
        )
        self.image_renditions = declare.counter(
            "fovea_image_renditions",
            "Images that engines were sent otherwise than they came",
            Label("change", ("first-frame", "reencoded", "downscaled", "low-detail", "lossy")),
        )
        cache = declare.counter(
            "fovea_images_by_cache",
            "Images by where their engine had the embedding from, where it told",
            Label("outcome", IMAGE_CACHE),
        )
        self.image_cache = {each: cache.labels(each) for each in IMAGE_CACHE}
        self.image_bytes = declare.loop_histogram(
            "fovea_image_bytes", "Size of accepted images", buckets=BYTES
        ).labels()
        self.image_pixels = declare.loop_histogram(
            "fovea_image_pixels", "Width x height of accepted images", buckets=PIXELS
        ).labels()
        self.image_tokens = declare.loop_histogram(
            "fovea_image_tokens", "Tokens that a request's images take", buckets=TOKENS
        ).labels()
        self.image_seconds = declare.loop_histogram(
            "fovea_image_resolve_seconds",
            "Time to fetch, check and identify one image, waits for threads included",
            SOURCE,
            buckets=SECONDS,
        )
        stages = declare.loop_histogram(
            "fovea_image_stage_seconds",
            "Time of one stage of an image, waits for a thread left out: fetch is from its host and counts "
            "failures, decode is the work of a rendition",
            Label("stage", STAGES),
            buckets=STAGE_SECONDS,
        )
        self.fetch_seconds, self.check_seconds, self.digest_seconds, self.decode_seconds = map(
            stages.labels, STAGES
        )
        self.bytes_not_sent = declare.counter(
            "fovea_image_bytes_not_sent", "Bytes of requests that names of pictures spared"
        )
        hash_first = declare.counter(
            "fovea_hash_first",
            "Requests by names of pictures; after a miss they are sent again",
            Label("outcome", ("hit", "miss")),
        )
        self.hash_first_hit, self.hash_first_miss = (hash_first.labels(outcome) for outcome in ("hit", "miss"))
