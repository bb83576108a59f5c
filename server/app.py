"""The gateway's composition root: the only place where its objects are built."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from server.api import estimating
from server.api.bodies import BodyParser
from server.api.connection import ConnectionLimits, bounded_connection
from server.api.files.routes import make_file_routes
from server.api.front import Front
from server.api.own_host import OwnHost, is_loopback
from server.api.routes import (
    BodyLimits,
    CompletionEndpoint,
    Scrape,
    answer_http_exception,
    make_probes,
    make_routes,
    pass_on,
)
from server.api.surface import Surface
from server.api.surfaces import SURFACES, wording_of
from server.api.terms import TermsReader
from server.crash import log_loop_fault
from server.drain import Drain
from server.engines.forgetting import ForgettingEngines
from server.engines.pool import EnginePool
from server.estimate import Estimator
from server.forgetting import Forgetting
from server.images.addresses import Network
from server.images.inspect import enable_formats
from server.loop_turns import LoopTurns
from server.memory import ByteBudget
from server.metrics import Metrics
from server.pipeline import Pipeline
from server.setting_sections.http import HttpSettings
from server.settings import Settings
from server.wiring.admission import make_gates
from server.wiring.engines import check_engines, make_pool
from server.wiring.files import make_files
from server.wiring.images import make_images, make_videos
from server.wiring.keys import make_allowances, make_jwks, make_key_file, make_keys
from server.wiring.limits import make_limits
from server.wiring.prices import make_prices, pixel_rule
from server.wiring.traces import make_tracing

if TYPE_CHECKING:  # FastAPI below 0.137, which vLLM wants, has none
    from fastapi.telemetry import TelemetryConfig

log = logging.getLogger("fovea")
# FastAPI's own, where its version has any: it tells paths as callers wrote them, and the texts of exceptions, to
# whichever receiver the environment names. Ours is `server/traces/`.
NO_TELEMETRY: "TelemetryConfig" = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
# Of moving a picture on, each time that the event loop comes round.
LARGE_STEPS = 2
# That a worker begins later, where no engine is ready.
FIRST_LOOK_S = 10.0


def make_app(
    settings: Settings,
    network: Network | None = None,
    drain: Drain | None = None,
    metrics: Metrics | None = None,
    scrape: Scrape | None = None,
) -> Front:
    """Build the gateway; its images come from the `network`, `drain` tells it to stop, and `scrape` shows metrics
    where they are not `metrics` alone.

    Raises ConfigError where the settings cannot work.
    """
    drain = drain or Drain()
    check_engines(settings.engines)
    prices = make_prices(settings.admission)
    enable_formats(frozenset(settings.images.formats))
    metrics = metrics or Metrics()
    jwks = make_jwks(settings.oidc, metrics)
    allowances = make_allowances(settings.limits)
    keys = make_keys(settings, jwks, allowances)
    key_file = make_key_file(settings, keys, metrics, allowances)
    files, sweeper = make_files(settings, metrics)
    allowed = make_limits(settings, metrics)
    tracing = make_tracing(settings.traces, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        """What needs the running event loop is built here, and taken down in reverse order."""
        asyncio.get_running_loop().set_exception_handler(log_loop_fault)
        if tracing is not None:
            tracing.start()
        turns = LoopTurns(LARGE_STEPS)
        pool = make_pool(settings.engines, metrics, turns)
        admission = settings.admission
        gates = make_gates(admission, settings.processes, pool, metrics)
        http = settings.http
        budget = ByteBudget(http.max_bytes_in_flight, http.bytes_wait_s, metrics.bytes_in_flight)
        images = make_images(settings.images, pixel_rule(prices), files, metrics, budget, network or Network())
        limits = BodyLimits(http.max_body, http.body_timeout_s)
        bodies = BodyParser(turns)
        terms = TermsReader(admission.max_timeout_s)
        videos = make_videos(settings, metrics, network or Network())
        pipeline = Pipeline(images, videos, prices, allowed, gates, pool, metrics)
        estimator = Estimator(images, videos, prices, allowed, pool)

        def endpoint(surface: Surface, answering: Pipeline | Estimator) -> CompletionEndpoint:
            return CompletionEndpoint(
                surface,
                limits,
                bodies,
                keys,
                terms,
                answering,
                pool,
                metrics,
                budget,
                turns,
                drain,
                http.keepalive_s,
            )

        for path, surface in SURFACES.items():
            front.endpoints[path] = endpoint(surface, pipeline)
        estimates = {route: endpoint(surface, estimator) for route, surface in estimating.SURFACES.items()}
        front.endpoints[estimating.ESTIMATE] = estimating.EstimateEndpoint(estimates)
        metrics_keys = keys if settings.auth.protect_metrics else None
        probes = make_probes(pool, scrape or metrics.exposition, metrics_keys, drain)
        app.router.routes.extend(make_routes(keys, pool) + probes)
        if not settings.asks_for_keys and not is_loopback(settings.http.host):
            log.warning("no API keys are set: whoever reaches %s is served (auth.keys_file)", settings.http.host)
        forgetting = None
        if files is not None:
            forgetting = Forgetting(files, images, pool, ForgettingEngines(metrics), metrics)
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
                forgetting.file_removed if forgetting is not None else lambda tenant, record: None,
            )
        )
        sweeping = asyncio.create_task(sweeper.run(settings.files.sweep_s)) if sweeper is not None else None
        if key_file:
            await key_file.start()
        if jwks:
            await jwks.start()
        await allowed.start()
        await pool.start()
        await gates.start()
        if settings.http.workers > 1:
            await wait_for_engines(pool)
        yield
        await gates.close()
        if jwks:
            await jwks.close()
        if key_file:
            await key_file.close()
        if sweeping is not None:
            sweeping.cancel()
            await asyncio.wait({sweeping})
        if forgetting is not None:
            await forgetting.close()
        await pool.close()
        await allowed.close()
        await images.close()
        await videos.close()
        bodies.close()
        if files is not None:
            await files.close()
        if tracing is not None:
            await tracing.close()

    app = FastAPI(
        title="Fovea",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # a redirect would name whatever host the caller claims this is
        telemetry=NO_TELEMETRY,
    )
    app.add_exception_handler(HTTPException, answer_http_exception)
    app.add_exception_handler(Exception, pass_on)
    unguarded = not settings.asks_for_keys and is_loopback(settings.http.host)
    own_host = OwnHost(settings.http.hosts, loopback_only=unguarded)
    tracer = tracing.tracer if tracing is not None else None
    front = Front(app, lambda: app.router.routes, own_host, wording_of, drain, tracer)
    return front


async def wait_for_engines(pool: EnginePool) -> None:
    """For a while: others serve at this address already, and callers need not meet one that knows no engine yet."""
    deadline = time.monotonic() + FIRST_LOOK_S
    while not pool.ready and time.monotonic() < deadline:  # noqa: ASYNC110 - the pool calls nobody back
        await asyncio.sleep(0.02)


def make_server_options(http: HttpSettings) -> dict[str, Any]:
    """How uvicorn serves the application, for whoever starts it."""
    limits = ConnectionLimits(http.max_connections, http.max_head, http.head_timeout_s, http.stall_timeout_s)
    return {
        "loop": "uvloop",
        "http": bounded_connection(limits),
        "ws": "none",
        "timeout_keep_alive": http.idle_timeout_s,
        "proxy_headers": False,
        "server_header": False,
        "access_log": False,
        "log_config": None,  # ours (server/logs.py)
        # Warnings are about callers' requests: anyone could fill the log with them.
        "log_level": "error",
    }
