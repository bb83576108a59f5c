"""Every metric of the gateway, declared in one place. Label values are bounded: models are those we serve."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from server.domain import ANONYMOUS_NAME, IMAGE_CACHE
from server.label_classes import LabelClasses
from server.loop_counter import LoopCounter
from server.loop_gauge import LoopGauge
from server.loop_histogram import LoopHistogram

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, of use to nobody here

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
STORE_SECONDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
BYTES = tuple(float(4**n * 1024) for n in range(9))
# Between two reads of a stream.
GAPS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5)
# Of work on one image: a header is read in a tenth of a millisecond, a raster drawn in a tenth of a second.
STAGE_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
PIXELS = tuple(float(4**n * 1024) for n in range(1, 9))
TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)


# How the gauges of several workers (`server.workers.sums`) become one: each says what it is for.
ACROSS_WORKERS: Mapping[str, Literal["sum", "min", "max"]] = {
    "fovea_requests_in_flight": "sum",
    "fovea_bytes_in_flight": "sum",
    "fovea_requests_waiting": "sum",
    "fovea_engine_requests_running": "sum",
    "fovea_keys": "max",
    "fovea_keys_file_broken": "max",
    "fovea_identity_keys_fetched_seconds": "min",  # the worker that waits longest
    "fovea_engine_ready": "min",  # for all of them
    "fovea_limit_store_up": "min",
    "fovea_admission_held_tokens": "sum",
    "fovea_admission_held_places": "sum",
    "fovea_admission_capacity_tokens": "sum",
    "fovea_admission_capacity_places": "sum",
    "fovea_admission_brake": "max",
    "fovea_engine_kv_cache_usage_ratio": "max",
    "fovea_engine_requests_waiting": "max",
    "fovea_engine_state": "max",  # each of them that some worker sees
    "fovea_build_info": "max",
}
# Tenants that metrics tell of by their names, and models; all others share a few classes.
MOST_TENANTS = 50
MOST_MODELS = 256
# Who has no name here: no keys are asked for, or the request's was not known.
NO_TENANT = "-"


class Metrics:
    """The gateway's registry. One instance a process, handed to whoever counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.requests = LoopCounter(
            "fovea_requests", "Requests answered", ["route", "model", "status", "code", "tenant"], r
        )
        self.tenants = LabelClasses(MOST_TENANTS)
        self.models = LabelClasses(MOST_MODELS)
        build = Gauge("fovea_build_info", "1; the label says which version this is", ["version"], registry=r)
        build.labels(version("fovea")).set(1)
        self.in_flight = 0
        in_flight = Gauge("fovea_requests_in_flight", "Requests being handled", registry=r)
        in_flight.set_function(lambda: self.in_flight)
        self.bytes_in_flight = Gauge(
            "fovea_bytes_in_flight", "Bytes of bodies and images that requests hold", registry=r
        )
        self.waiting = Gauge(
            "fovea_requests_waiting", "Requests waiting for admission", ["model", "priority"], registry=r
        )
        self.wait = Histogram(
            "fovea_admission_wait_seconds",
            "Time spent waiting for admission, by those who had to",
            ["model", "priority"],
            buckets=SECONDS,
            registry=r,
        )
        self.deadline_misses = Counter(
            "fovea_admission_deadline_misses",
            "Requests that waited for admission until their time was over, or came when it was",
            ["model", "priority"],
            registry=r,
        )
        self.held_tokens = Gauge(
            "fovea_admission_held_tokens", "Tokens that requests at the engines may take", ["model"], registry=r
        )
        self.held_places = Gauge(
            "fovea_admission_held_places", "Requests let in and not finished", ["model"], registry=r
        )
        self.capacity_tokens = Gauge(
            "fovea_admission_capacity_tokens", "Most tokens held at once; 0: unknown", ["model"], registry=r
        )
        self.capacity_places = Gauge(
            "fovea_admission_capacity_places", "Most requests let in at once", ["model"], registry=r
        )
        self.brake = Gauge(
            "fovea_admission_brake",
            "1 while full KV caches or requests waiting in engines take from that",
            ["model"],
            registry=r,
        )
        self.first_token = LoopHistogram(
            "fovea_time_to_first_token_seconds",
            "From a request's last byte to the first byte of its answer",
            ["route", "model"],
            SECONDS,
            r,
        )
        self.duration = LoopHistogram(
            "fovea_request_duration_seconds",
            "From a request's last byte to the last byte of its answer",
            ["route", "model"],
            SECONDS,
            r,
        )
        self.inter_token = LoopHistogram(
            "fovea_inter_token_seconds", "Between two reads of a stream from its engine", ["model"], GAPS, r
        )
        self.images = LoopCounter(
            "fovea_images", "Images accepted, by where they came from", ["source", "format"], r
        )
        self.videos = Counter(
            "fovea_videos", "Videos accepted, by where they came from", ["source", "format"], registry=r
        )
        self.image_fetches = Counter(
            "fovea_image_fetches",
            "Images by URL: fetched, revalidated, cached, shared with one under way, or failed",
            ["outcome"],
            registry=r,
        )
        self.image_renditions = Counter(
            "fovea_image_renditions",
            "Images that engines were sent otherwise than they came: first-frame, reencoded, downscaled, "
            "low-detail, lossy",
            ["change"],
            registry=r,
        )
        cache = Counter(
            "fovea_images_by_cache",
            "Images by where their engine had the embedding from, where it told: hit-gpu, hit-host, hit-disk, "
            "hit-shared, or miss",
            ["outcome"],
            registry=r,
        )
        self.image_cache = {each: cache.labels(each) for each in IMAGE_CACHE}
        self.image_bytes = LoopHistogram("fovea_image_bytes", "Size of accepted images", [], BYTES, r).labels()
        self.image_pixels = LoopHistogram(
            "fovea_image_pixels", "Width x height of accepted images", [], PIXELS, r
        ).labels()
        self._image_stages = LoopHistogram(
            "fovea_image_stage_seconds",
            "Time of one stage of an image, waits for a thread left out: fetch (from its host, failures as well), "
            "check, digest, decode (where engines are sent a rendition)",
            ["stage"],
            STAGE_SECONDS,
            r,
        )
        stages = ("fetch", "check", "digest", "decode")
        self.fetch_seconds, self.check_seconds, self.digest_seconds, self.decode_seconds = map(
            self._image_stages.labels, stages
        )
        self.image_tokens = LoopHistogram(
            "fovea_image_tokens", "Tokens that a request's images take", [], TOKENS, r
        ).labels()
        self.image_seconds = LoopHistogram(
            "fovea_image_resolve_seconds", "Time to fetch, check and identify one image", ["source"], SECONDS, r
        )
        self.file_uploads = Counter(
            "fovea_files_uploads",
            "Uploads ended: stored, refused, failed, or left by their caller",
            ["outcome"],
            registry=r,
        )
        self.file_bytes = Counter("fovea_files_uploaded_bytes", "Bytes of stored uploads", registry=r)
        self.files_removed = Counter(
            "fovea_files_removed",
            "Files deleted or expired; bytes that were orphaned",
            ["reason"],
            registry=r,
        )
        self.file_failures = Counter(
            "fovea_files_failures",
            "Failures of disk, catalogue or s3, and damaged bytes",
            ["place", "kind"],
            registry=r,
        )
        self.tokens = LoopCounter(
            "fovea_tokens", "Tokens of prompts and answers, as engines counted them", ["model", "kind"], r
        )
        self.rejections = Counter("fovea_rejections", "Requests refused, by error code", ["code"], registry=r)
        self.limit_refusals = Counter(
            "fovea_limit_refusals",
            "Requests refused by a limit, by whose it is and which",
            ["of", "budget"],
            registry=r,
        )
        self.limit_store_up = Gauge(
            "fovea_limit_store_up", "1 while limits are shared through their store, or no store is set", registry=r
        )
        self.limit_store_up.set(1)
        self.limit_store_errors = Counter(
            "fovea_limit_store_errors",
            "Times that the store of limits was lost: timeout, connection or refused",
            ["kind"],
            registry=r,
        )
        self.limit_store_seconds = Histogram(
            "fovea_limit_store_seconds",
            "Time of one exchange with the store of limits",
            buckets=STORE_SECONDS,
            registry=r,
        )
        self.retries = Counter("fovea_engine_retries", "Requests sent to a second engine", registry=r)
        self.retries_refused = Counter(
            "fovea_engine_retries_refused", "Second tries that the retry budget did not allow", registry=r
        )
        self.hedges = Counter(
            "fovea_engine_hedges", "Requests sent to a second engine because the first was slow", registry=r
        )
        self.hedges_won = Counter(
            "fovea_engine_hedges_won", "Of these, those that the second engine answered first", registry=r
        )
        self.embeddings_forgotten = Counter(
            "fovea_embeddings_forgotten",
            "Names of deleted files' pictures, told to each engine: forgotten, none_kept (it keeps no embeddings), "
            "failed (told again later), given_up",
            ["outcome"],
            registry=r,
        )
        self.bytes_not_sent = Counter(
            "fovea_image_bytes_not_sent", "Bytes of requests that names of pictures spared", registry=r
        )
        self.hash_first = Counter(
            "fovea_hash_first",
            "Requests by names of pictures: hit, or miss and sent again",
            ["outcome"],
            registry=r,
        )
        self.hash_first_hit, self.hash_first_miss = (self.hash_first.labels(outcome) for outcome in ("hit", "miss"))
        self.engine_ejections = Counter(
            "fovea_engine_ejections",
            "Times that an engine was put out for failing too many",
            ["engine"],
            registry=r,
        )
        self.cancelled = Counter(
            "fovea_requests_cancelled", "Requests whose caller left before the end", registry=r
        )
        self.keys = Gauge("fovea_keys", "API keys that are known", registry=r)
        self.keys_reloads = Counter(
            "fovea_keys_file_reads", "New contents of the keys file, read or refused", ["outcome"], registry=r
        )
        self.keys_file_broken = Gauge(
            "fovea_keys_file_broken", "1 while the keys file cannot be read and older keys stay", registry=r
        )
        self.identity_key_fetches = Counter(
            "fovea_identity_key_fetches", "Fetches of the identity provider's keys", ["outcome"], registry=r
        )
        self.identity_keys_fetched = Gauge(
            "fovea_identity_keys_fetched_seconds", "Unix time of the last that came whole", registry=r
        )
        self.engine_ready = Gauge("fovea_engine_ready", "1 where the engine answers", ["engine"], registry=r)
        self.engine_state = LoopGauge(
            "fovea_engine_state",
            "1 for the state that the engine is in: ready, starting (not proved yet), ejected (put out for "
            "failing), unhealthy (/health is not 200: it is stopping, or dead), unreachable",
            ["engine", "state"],
            r,
        )
        self.engine_kv_usage = LoopGauge(
            "fovea_engine_kv_cache_usage_ratio",
            "Part of the KV cache in use, as the engine last told",
            ["engine"],
            r,
        )
        self.engine_waiting = LoopGauge(
            "fovea_engine_requests_waiting", "Requests waiting inside the engine, as it last told", ["engine"], r
        )
        self.affinity = LoopCounter(
            "fovea_affinity",
            "Requests with pictures, by the engine they were sent to first: home (the one that their first picture "
            "belongs to), spilled (another: home was full or out), none (there is one engine only)",
            ["outcome"],
            r,
        )
        self.engine_running = Gauge(
            "fovea_engine_requests_running",
            "Requests sent to the engine and not finished",
            ["engine"],
            registry=r,
        )

    def tenant(self, name: str) -> str:
        """The label for a tenant's name, or for a request's that has none."""
        return NO_TENANT if not name or name == ANONYMOUS_NAME else self.tenants.of(name)

    def count_tokens(self, model: str, prompt: int, completion: int) -> None:
        model = self.models.of(model)
        self.tokens.add((model, "prompt"), max(0, prompt))
        self.tokens.add((model, "completion"), max(0, completion))

    async def exposition(self) -> bytes:
        """The registry in Prometheus' text format."""
        return generate_latest(self.registry)
