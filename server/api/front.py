"""The outermost application: every request gets an id of ours, a record, and an answer even for our bugs.

The endpoints that are called most stand in a dictionary by their paths and are called at once; everything else
goes through FastAPI's router. What holds for all of them is said here, in straight code, not in nested wrappers.
"""

import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.leaving import ClientLeft
from server.api.let_go import let_go
from server.api.own_host import OwnHost
from server.api.surface import Wording
from server.drain import Drain
from server.errors import Draining, GatewayError, InternalError
from server.record import RequestRecord, begin_record
from server.request_lines import log_request
from server.traces.tracer import Tracer

log = logging.getLogger("fovea.bugs")
METHODS = frozenset("GET HEAD POST PUT PATCH DELETE OPTIONS".split())
UNLOGGED = ("/health", "/metrics")
# Names, not secrets. Seeded by the kernel, so that no two gateways give the same ones.
numbers = random.Random()


class Front:
    """`endpoints` are plain ASGI, by path; `rest` is everything else, and `routes` what there is in it."""

    def __init__(
        self,
        rest: ASGIApp,
        routes: Callable[[], Iterable[BaseRoute]],
        own_host: OwnHost,
        wording_of: Callable[[Scope], Wording],
        drain: Drain,
        tracer: Tracer | None = None,
    ) -> None:
        self.endpoints: dict[str, ASGIApp] = {}
        self._rest = rest
        self._routes = routes
        self._own_host = own_host
        self._wording_of = wording_of
        self._drain = drain
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        began = time.perf_counter()
        endpoint = self.endpoints.get(scope["path"])
        record = begin_record(f"req-{numbers.getrandbits(128):032x}")
        record.method = scope["method"] if scope["method"] in METHODS else "other"
        if self._tracer is not None:
            self._tracer.begin(record, scope["path"], scope["headers"])
        reply = Reply(send, record)
        try:
            with self._drain:
                self._own_host.check(scope["headers"])
                await (endpoint or self._rest)(scope, receive, reply)
        except GatewayError as problem:
            record.code = problem.code
            if reply.started and isinstance(problem, Draining):
                return  # its stream has been told, and nobody else can be
            if reply.started:
                raise
            let_go(problem)
            await self._wording_of(scope).response(problem, record.request_id)(scope, receive, reply)
        except ClientLeft as left:
            record.status, record.code = 499, "client_left"
            let_go(left)
        except Exception as bug:
            record.code = InternalError.code
            log.error("bug: %s", type(bug).__name__, exc_info=bug)
            if reply.started:
                raise
            let_go(bug)
            error = InternalError("The gateway failed; its log says more under this request's id.")
            await self._wording_of(scope).response(error, record.request_id)(scope, receive, reply)
        finally:
            record.path = scope["path"] if endpoint is not None else self._pattern_of(scope)
            if not record.path.startswith(UNLOGGED):
                record.ms = (time.perf_counter() - began) * 1000
                log_request(record)
            if self._tracer is not None:
                self._tracer.finish(record)

    def _pattern_of(self, scope: Scope) -> str:
        """What the router matched: the path itself is the caller's, and may hold anything."""
        endpoint = scope.get("endpoint")
        for route in self._routes():
            if isinstance(route, Route) and route.endpoint is endpoint:
                return route.path
        return "none of ours"


class Reply:
    """ASGI's `send`, which tells the caller the request's id, and knows whether a status has gone out."""

    def __init__(self, send: Send, record: RequestRecord) -> None:
        self._send = send
        self._record = record
        self.started = False

    def __call__(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self.started = True
            self._record.status = message["status"]
            request_id = self._record.request_id.encode()
            # OpenAI's SDKs look for the first name, Anthropic's for the second.
            ids = ((b"x-request-id", request_id), (b"request-id", request_id))
            message["headers"] = [*message.get("headers", ()), *ids]
        return self._send(message)
