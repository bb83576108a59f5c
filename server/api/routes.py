"""The HTTP surface: completions as plain ASGI endpoints (the hot path), the rest as small functions."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NoReturn

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from server.admission.keys import KeyRing
from server.api.bodies import BodyParser
from server.api.keepalive import Keepalive
from server.api.leaving import ClientLeft, UntilCallerLeaves
from server.api.let_go import let_go
from server.api.stream import send_answer
from server.api.surface import Surface, as_it_is
from server.api.terms import TermsReader
from server.api.wire import read_body, require_json
from server.domain import Answer, ParsedRequest, Tenant, Terms
from server.drain import Drain
from server.engines.pool import EnginePool
from server.errors import (
    Draining,
    EngineError,
    GatewayError,
    NoEngineReady,
    UnknownModel,
    UnknownRoute,
    WrongMethod,
)
from server.estimate import Estimator
from server.loop_turns import LoopTurns
from server.memory import ByteBudget, Holding
from server.metering.loop_histogram import Series
from server.metering.request_series import RequestSeries
from server.metrics import Metrics
from server.pipeline import Pipeline
from server.record import current_record

log = logging.getLogger("fovea.requests")


# Metrics in Prometheus' text format.
Scrape = Callable[[], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class BodyLimits:
    max_bytes: int
    timeout_s: float


class CompletionEndpoint:
    """POST of one route. Accounts for every request exactly once, however it ends."""

    def __init__(
        self,
        surface: Surface,
        limits: BodyLimits,
        bodies: BodyParser,
        keys: KeyRing,
        terms: TermsReader,
        pipeline: Pipeline | Estimator,
        pool: EnginePool,
        metrics: Metrics,
        budget: ByteBudget,
        turns: LoopTurns,
        drain: Drain,
        keepalive_s: float,
    ) -> None:
        """`keepalive_s`: a stream on which nothing has come for so long is kept alive; 0: none is."""
        self._surface = surface
        self._keepalive_s = keepalive_s
        self._drain = drain
        self._limits = limits
        self._turns = turns
        self._bodies = bodies
        self._budget = budget
        self._keys = keys
        self._terms = terms
        self._pipeline = pipeline
        self._pool = pool
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        account = Account(self._surface.label, self._metrics, self._pool)
        with account, self._budget.hold() as holding:
            try:
                with UntilCallerLeaves(scope):
                    await self._serve(scope, receive, send, account, holding)
            except ClientLeft:
                if not account.complete:
                    raise

    async def _serve(
        self, scope: Scope, receive: Receive, send: Send, account: "Account", holding: Holding
    ) -> None:
        if scope["method"] != "POST":
            raise WrongMethod("Use POST here.")
        headers, record = scope["headers"], current_record()
        record.enter("authenticate")
        tenant = self._keys.authenticate_now(headers, "inference") or await self._keys.authenticate(
            headers, "inference"
        )
        terms = self._terms.read(headers, tenant)
        require_json(scope)
        record.enter("read body")
        limits = self._limits
        raw = await read_body(scope, receive, limits.max_bytes, limits.timeout_s, holding, self._turns)
        account.start_clock()
        record.enter("parse")
        request = await self._bodies.parse(self._surface.parse, raw)
        del raw
        account.model = request.model
        if request.stream and self._keepalive_s:
            await self._answer_in_time(request, tenant, terms, send, account, holding)
        else:
            await self._answer(request, tenant, terms, send, account, holding)

    async def _answer_in_time(
        self,
        request: ParsedRequest,
        tenant: Tenant,
        terms: Terms,
        send: Send,
        account: "Account",
        holding: Holding,
    ) -> None:
        """A stream's status goes out before its answer where that takes long: what fails then is an event."""
        with Keepalive(send, self._keepalive_s, self._surface.keepalive) as keepalive:
            try:
                await self._answer(request, tenant, terms, send, account, holding, keepalive)
            except (GatewayError, asyncio.CancelledError) as problem:
                left = isinstance(problem, asyncio.CancelledError) and not self._drain.over
                if left or account.answering or not await keepalive.stop():
                    raise
                let_go(problem)
                error = problem if isinstance(problem, GatewayError) else self._drain.cut_off()
                account.failure = error
                event = self._surface.wording.event(error, current_record().request_id, 0)
                await send({"type": "http.response.body", "body": event, "more_body": False})

    async def _answer(
        self,
        request: ParsedRequest,
        tenant: Tenant,
        terms: Terms,
        send: Send,
        account: "Account",
        holding: Holding,
        keepalive: Keepalive | None = None,
    ) -> None:
        request_id, surface = current_record().request_id, self._surface

        async def deliver(answer: Answer) -> None:
            if answer.whole is None:
                account.first_byte()
            told = answer if surface.tell is as_it_is else await surface.tell(answer)
            started = keepalive is not None and await keepalive.stop()
            if started and told.whole is not None:
                raise EngineError(f"{told.engine} answered a stream in one piece.")
            account.answering = True
            failure = await send_answer(
                told, surface, request_id, send, account.end, self._drain, account.gaps, started
            )
            answer.failure = account.failure = failure

        await self._pipeline.answer(request, tenant, terms, request_id, holding, deliver)


class Account:
    """Counts one request: in flight while open; its status, code and times when it closes."""

    def __init__(self, route: str, metrics: Metrics, pool: EnginePool) -> None:
        self._route = route
        self._metrics = metrics
        self._pool = pool
        self._began: float | None = None
        self.model = ""
        self._series: RequestSeries | None = None
        self.answering = self.complete = False
        self.failure: GatewayError | None = None

    def start_clock(self) -> None:
        self._began = time.perf_counter()

    def first_byte(self) -> None:
        if self._began is not None:
            self._find_series().began(time.perf_counter() - self._began)

    def gaps(self) -> Series:
        """What tells how long a stream's reads are apart."""
        return self._metrics.inter_token.labels(self._find_series().model)

    def end(self) -> None:
        self.complete = True

    def __enter__(self) -> None:
        self._metrics.in_flight += 1

    def __exit__(self, kind: object, problem: BaseException | None, trace: object) -> None:
        metrics, series = self._metrics, self._find_series()
        metrics.in_flight -= 1
        record = current_record()
        tenant = metrics.tenants.of(record.tenant)
        record.route, record.model = series.route, series.model
        if problem is None and self.failure is None:
            series.ended_well(tenant, None if self._began is None else time.perf_counter() - self._began)
            return
        status, code = self._outcome(problem)
        record.code = code
        series.ended(status, code, tenant)

    def _outcome(self, problem: BaseException | None) -> tuple[str, str]:
        """Status and code, as metrics and log lines tell them."""
        error = problem if isinstance(problem, GatewayError) else self.failure
        if isinstance(problem, ClientLeft):
            self._metrics.cancelled.inc()
            return "499", "client_left"
        if error is not None:
            self._metrics.rejections.labels(error.code).inc()
            return str(error.status), error.code
        if isinstance(problem, asyncio.CancelledError):
            return str(Draining.status), Draining.code  # nobody else cancels a request
        return "500", "internal_error"

    def _find_series(self) -> RequestSeries:
        """Under labels that callers cannot multiply."""
        if self._series is None:
            if not self.model or self.model not in self._pool.models():
                return self._metrics.series_of(self._route, "")  # it may be served in a moment
            self._series = self._metrics.series_of(self._route, self.model)
        return self._series


def make_routes(keys: KeyRing, pool: EnginePool) -> list[BaseRoute]:
    """What is called seldom. Model names may hold slashes, as on the hub."""

    async def list_models(request: Request) -> Response:
        await keys.authenticate(request.scope["headers"], "inference")
        return JSONResponse({"object": "list", "data": [model_card(*model) for model in pool.models().items()]})

    async def get_model(request: Request) -> Response:
        await keys.authenticate(request.scope["headers"], "inference")
        name, models = request.path_params["name"], pool.models()
        if name not in models:
            raise UnknownModel(f"The model '{name}' does not exist.", "model")
        return JSONResponse(model_card(name, models[name]))

    async def kept_response(request: Request) -> Response:
        await keys.authenticate(request.scope["headers"], "inference")
        raise UnknownRoute("Responses are not kept: take the answer of the request that makes one.")

    return [
        Route(
            "/v1/responses/{rest:path}", kept_response, methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        ),
        Route("/v1/models", list_models, methods=["GET"]),
        Route("/v1/models/{name:path}", get_model, methods=["GET"]),
    ]


def make_probes(pool: EnginePool, scrape: Scrape, metrics_keys: KeyRing | None, drain: Drain) -> list[BaseRoute]:
    """Liveness, readiness and metrics; with `metrics_keys`, these want a key with the scope admin."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_: Request) -> Response:
        if drain.draining:
            raise Draining("This gateway is stopping.")
        if not pool.ready:
            raise NoEngineReady(pool.why_not_ready())
        return JSONResponse({"status": "ready"})

    async def expose(request: Request) -> Response:
        if metrics_keys is not None:
            await metrics_keys.authenticate(request.scope["headers"], "admin")
        return Response(await scrape(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return [
        Route("/health/live", live, methods=["GET"]),
        Route("/health/ready", ready, methods=["GET"]),
        Route("/metrics", expose, methods=["GET"]),
    ]


def model_card(name: str, context: int | None) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "fovea", "max_model_len": context}


async def answer_http_exception(request: Request, exc: Exception) -> NoReturn:
    """Starlette's own 404 and 405 become errors of ours, which are worded as all others are."""
    status = exc.status_code if isinstance(exc, HTTPException) else 500
    if status == 405:
        raise WrongMethod(f"{request.method} is not allowed here.")
    raise UnknownRoute("There is nothing at this path.")


async def pass_on(_: Request, exc: Exception) -> NoReturn:
    """Starlette would answer with words of its own: the front answers all that fails."""
    raise exc
