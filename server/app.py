"""The gateway's composition root: the only place where its objects are built."""

import asyncio
import ipaddress
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from server.admission.gate import Gate
from server.admission.grant import Grant
from server.admission.jwks import Jwks, JwksSource
from server.admission.key_file import KeyFile
from server.admission.keys import KeyRing, KnownKey
from server.admission.oidc import TokenRules, TokenVerifier
from server.admission.price import PriceList
from server.api.bodies import BodyParser
from server.api.connection import ConnectionLimits, bounded_connection
from server.api.files import make_file_routes
from server.api.messages.answer import tell_message
from server.api.messages.count_tokens import parse_count_request, tell_count
from server.api.messages.events import MESSAGE_STOP
from server.api.messages.problems import AnthropicWording
from server.api.messages.request import parse_messages_request
from server.api.middleware import ErrorsAsProblems, RequestLog
from server.api.parse import parse_request
from server.api.problems import OpenAIWording, ResponsesWording
from server.api.routes import BodyLimits, CompletionEndpoint, answer_http_exception, make_probes, make_routes
from server.api.surface import Surface, Wording
from server.crash import log_loop_fault
from server.domain import Tenant
from server.engines.client import EngineClient, EngineTimeouts
from server.engines.pool import EnginePool
from server.errors import ConfigError
from server.files.blobs import Blobs, DiskThreads, FolderBlobs
from server.files.incoming import Incoming
from server.files.record import Catalogue, Usage
from server.files.sqlite_catalogue import SqliteCatalogue
from server.files.store import FileStore
from server.files.sweep import Sweeper
from server.files.upload import FileLimits
from server.images.addresses import Network
from server.images.fetch import FetchLimits, ImageFetcher
from server.images.inspect import HeaderLimits, enable_formats
from server.images.rendition import PixelBudgets
from server.images.rendition_cache import RenditionCache
from server.images.resolve import ImageLimits, ImageResolver
from server.images.shared_fetches import SharedFetches
from server.images.tokens import QwenTokenRule
from server.images.videos import VideoLimits, VideoResolver
from server.images.workers import ImageWorkers
from server.memory import ByteBudget
from server.metrics import Metrics
from server.pipeline import Pipeline
from server.settings import FileSettings, HttpSettings, ImageSettings, OidcSettings, Settings

log = logging.getLogger("fovea")
OPENAI, ANTHROPIC = OpenAIWording(), AnthropicWording()
SURFACES = {
    "/v1/chat/completions": Surface("chat", partial(parse_request, "chat"), OPENAI),
    "/v1/completions": Surface("completions", partial(parse_request, "completions"), OPENAI),
    "/v1/responses": Surface(
        "responses", partial(parse_request, "responses"), ResponsesWording(), b"event: response.completed\n"
    ),
    "/tokenize": Surface("tokenize", partial(parse_request, "tokenize"), OPENAI),
    "/v1/messages": Surface("messages", parse_messages_request, ANTHROPIC, MESSAGE_STOP, tell_message),
    "/v1/messages/count_tokens": Surface("count_tokens", parse_count_request, ANTHROPIC, tell=tell_count),
    "/detokenize": Surface("detokenize", partial(parse_request, "detokenize"), OPENAI),
}


def make_app(settings: Settings, network: Network | None = None) -> FastAPI:
    """Build the gateway; its images come from the `network`. Raises ConfigError where the settings cannot work."""
    if not settings.engines.urls:
        raise ConfigError("no engine is named: give --engine URL or set FOVEA_ENGINES__URLS")
    path = settings.admission.preprocessor
    rule = QwenTokenRule.from_file(path) if path else None
    prices = PriceList(rule.tokens if rule else None)
    enable_formats(frozenset(settings.images.formats))
    metrics = Metrics()
    jwks = make_jwks(settings.oidc, metrics)
    keys = make_keys(settings, jwks)
    key_file = make_key_file(settings, keys, metrics)
    files, sweeper = make_files(settings, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        """What needs the running event loop is built here, and taken down in reverse order."""
        asyncio.get_running_loop().set_exception_handler(log_loop_fault)
        pool = make_pool(settings, metrics)
        admission = settings.admission
        gate = Gate(admission.max_running, admission.max_waiting, admission.wait_timeout_s, metrics)
        http = settings.http
        budget = ByteBudget(http.max_bytes_in_flight, http.bytes_wait_s, metrics.bytes_in_flight)
        images = make_images(settings.images, rule, files, metrics, budget, network or Network())
        limits = BodyLimits(http.max_body, http.body_timeout_s)
        bodies = BodyParser()
        videos = make_videos(settings, metrics, network or Network())
        pipeline = Pipeline(images, videos, prices, gate, pool, metrics)
        endpoints = [
            (path, CompletionEndpoint(surface, limits, bodies, keys, pipeline, pool, metrics, budget))
            for path, surface in SURFACES.items()
        ]
        metrics_keys = keys if settings.auth.protect_metrics else None
        app.router.routes.extend(make_routes(endpoints, keys, pool) + make_probes(pool, metrics, metrics_keys))
        if not settings.asks_for_keys and not is_loopback(settings.http.host):
            log.warning("no API keys are set: whoever reaches %s is served (auth.keys_file)", settings.http.host)
        app.router.routes.extend(
            make_file_routes(
                files,
                images.inspect,
                settings.images.max_bytes,
                settings.files.upload_timeout_s,
                keys,
                budget,
                metrics,
                pool,
            )
        )
        sweeping = asyncio.create_task(sweeper.run(settings.files.sweep_s)) if sweeper is not None else None
        if key_file:
            await key_file.start()
        if jwks:
            await jwks.start()
        await pool.start()
        yield
        if jwks:
            await jwks.close()
        if key_file:
            await key_file.close()
        if sweeping is not None:
            sweeping.cancel()
            await asyncio.wait({sweeping})
        await pool.close()
        await images.close()
        await videos.close()
        bodies.close()
        if files is not None:
            await files.close()

    app = FastAPI(
        title="Fovea",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # a redirect would name whatever host the caller claims this is
    )
    app.add_exception_handler(HTTPException, answer_http_exception)
    app.add_middleware(ErrorsAsProblems, wording_of=wording_of)
    app.add_middleware(RequestLog, routes=lambda: app.router.routes)
    return app


def wording_of(path: str) -> Wording:
    """How errors are told at a path, whether or not there is anything at it."""
    return ANTHROPIC if f"{path}/".startswith("/v1/messages/") else OPENAI


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def make_keys(settings: Settings, jwks: Jwks | None) -> KeyRing:
    """Keys from settings are for a quick start: they cannot expire, and may not look at the gateway itself."""
    known = [
        KnownKey(bytes.fromhex(digest), Grant(Tenant(tenant), frozenset({"inference", "files"})))
        for digest, tenant in settings.auth.key_hashes.items()
    ]
    tokens = TokenVerifier(make_token_rules(settings.oidc), jwks) if jwks else None
    return KeyRing(known, anonymous=not settings.asks_for_keys, tokens=tokens)


def make_jwks(oidc: OidcSettings, metrics: Metrics) -> Jwks | None:
    if oidc.issuer is None or oidc.jwks_url is None:
        return None
    return Jwks(JwksSource(oidc.jwks_url, oidc.ca_file, oidc.refresh_s, oidc.refetch_pause_s), metrics)


def make_token_rules(oidc: OidcSettings) -> TokenRules:
    return TokenRules(
        issuer=oidc.issuer or "",
        audience=oidc.audience,
        algorithms=oidc.algorithms,
        leeway_s=oidc.leeway_s,
        tenant_claim=oidc.tenant_claim,
        tenant_prefix=oidc.tenant_prefix,
        scope_claim=oidc.scope_claim,
        scopes=oidc.scopes,
        default_scopes=oidc.default_scopes,
    )


def make_key_file(settings: Settings, keys: KeyRing, metrics: Metrics) -> KeyFile | None:
    """Read for the first time, so that a broken one stops the start."""
    metrics.keys.set(len(keys))
    if settings.auth.keys_file is None:
        return None
    key_file = KeyFile(settings.auth.keys_file, keys, settings.auth.keys_poll_s, metrics)
    key_file.load()
    return key_file


def make_server_options(http: HttpSettings) -> dict[str, Any]:
    """How uvicorn serves the application, for whoever starts it."""
    limits = ConnectionLimits(http.max_connections, http.max_head, http.head_timeout_s, http.stall_timeout_s)
    return {
        "loop": "uvloop",
        "http": bounded_connection(limits),
        "ws": "none",
        "proxy_headers": False,
        "server_header": False,
        "access_log": False,
        "log_config": None,  # ours (server/logs.py)
        # Warnings are about callers' requests: anyone could fill the log with them.
        "log_level": "error",
    }


def make_pool(settings: Settings, metrics: Metrics) -> EnginePool:
    engines = settings.engines
    timeouts = EngineTimeouts(engines.connect_timeout_s, engines.first_byte_timeout_s, engines.idle_timeout_s)
    clients = [EngineClient(f"engine-{i}", url, timeouts) for i, url in enumerate(engines.urls)]
    return EnginePool(clients, engines.poll_s, metrics)


def make_files(settings: Settings, metrics: Metrics) -> tuple[FileStore | None, Sweeper | None]:
    """Raises ConfigError where the folder, the catalogue or the bucket's client cannot be used."""
    files = settings.files
    if files.path is None:
        return None, None
    disk = DiskThreads(metrics)
    try:
        files.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        incoming = Incoming.open(files.path / "incoming")
        if files.s3_bucket is None:
            blobs: Blobs = FolderBlobs(files.path / "blobs", disk)
            catalogue: Catalogue = SqliteCatalogue(files.path / "catalogue.sqlite", metrics)
        else:
            blobs, catalogue = make_s3(files.s3_bucket, files, metrics)
    except OSError as problem:
        raise ConfigError(f"files.path: cannot use {files.path}: {problem.strerror}") from problem
    quota = Usage(files.tenant_files, files.tenant_bytes)
    limits = FileLimits(settings.images.max_bytes, files.max_uploads, files.ttl_s, quota)
    store = FileStore(limits, catalogue, blobs, incoming, disk, metrics)
    return store, Sweeper(catalogue, blobs, metrics)


def make_s3(name: str, files: FileSettings, metrics: Metrics) -> tuple[Blobs, Catalogue]:
    try:  # an optional extra
        from server.files.s3 import Bucket, S3Blobs, open_bucket
        from server.files.s3_catalogue import S3Catalogue
    except ModuleNotFoundError as problem:
        raise ConfigError(f"files.s3_bucket: {problem.name} is not installed: pip install 'fovea[s3]'") from problem
    bucket = Bucket(open_bucket(name, files.s3_prefix, files.s3_endpoint, files.s3_region), metrics)
    return S3Blobs(bucket), S3Catalogue(bucket)


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
