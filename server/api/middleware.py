"""Wraps the whole application: every request gets an id of ours, a record, and an answer even for our bugs."""

import logging
import time
import uuid
from collections.abc import Callable, Iterable

from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.let_go import let_go
from server.api.surface import Wording
from server.api.wire import ClientLeft
from server.drain import Drain
from server.errors import Draining, GatewayError, InternalError
from server.logs import log_request
from server.record import begin_record, current_record

log = logging.getLogger("fovea.bugs")
METHODS = frozenset("GET HEAD POST PUT PATCH DELETE OPTIONS".split())


class RequestLog:
    """Gives every request an id (`x-request-id`) and a record, which is logged when the request has ended."""

    def __init__(self, app: ASGIApp, routes: Callable[[], Iterable[BaseRoute]]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"req-{uuid.uuid4().hex}"
        scope.setdefault("state", {})["request_id"] = request_id
        record = begin_record(request_id)
        record.method = scope["method"] if scope["method"] in METHODS else "other"
        began = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                # OpenAI's SDKs look for the first name, Anthropic's for the second.
                names = (b"x-request-id", b"request-id")
                message["headers"] = [*message["headers"], *((name, request_id.encode()) for name in names)]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientLeft as left:
            record.status, record.code = 499, "client_left"
            let_go(left)
        finally:
            record.path = self._pattern_of(scope)
            if not record.path.startswith(("/health", "/metrics")):
                record.ms = (time.perf_counter() - began) * 1000
                log_request(record)

    def _pattern_of(self, scope: Scope) -> str:
        """What the router matched: the path itself is the caller's, and may hold anything."""
        endpoint = scope.get("endpoint")
        for route in self._routes():
            if isinstance(route, Route) and route.endpoint is endpoint:
                return route.path
        return "none of ours"


class ErrorsAsProblems:
    """Gateway errors, and bugs, become answers in the path's own wording if nothing has been sent yet."""

    def __init__(self, app: ASGIApp, wording_of: Callable[[Scope], Wording], drain: Drain) -> None:
        self._app = app
        self._wording_of = wording_of
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            with self._drain:
                await self._app(scope, receive, watched_send)
        except GatewayError as problem:
            current_record().code = problem.code
            if started and isinstance(problem, Draining):
                return  # its stream has been told, and nobody else can be
            if started:
                raise
            let_go(problem)
            await self._word(problem, scope)(scope, receive, send)
        except ClientLeft:
            raise
        except Exception as bug:
            current_record().code = InternalError.code
            log.error("bug: %s", type(bug).__name__, exc_info=bug)
            if started:
                raise
            let_go(bug)
            error = InternalError("The gateway failed; its log says more under this request's id.")
            await self._word(error, scope)(scope, receive, send)

    def _word(self, error: GatewayError, scope: Scope) -> Response:
        request_id = scope.get("state", {}).get("request_id", "")
        return self._wording_of(scope).response(error, request_id)
