"""Wraps the whole application: every request gets an id of ours, a log line, and an answer even for our bugs."""

import logging
import time
import uuid
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.surface import Wording
from server.api.wire import ClientLeft
from server.errors import GatewayError, InternalError

log = logging.getLogger("fovea.access")


class RequestLog:
    """Sets `scope["state"]["request_id"]` and `x-request-id`; logs method, path, status and time, no content."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"req-{uuid.uuid4().hex}"
        scope.setdefault("state", {})["request_id"] = request_id
        began, status = time.perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                # OpenAI's SDKs look for the first name, Anthropic's for the second.
                names = (b"x-request-id", b"request-id")
                message["headers"] = [*message["headers"], *((name, request_id.encode()) for name in names)]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientLeft:
            status = 499
        finally:
            if not scope["path"].startswith(("/health", "/metrics")):
                took_ms = (time.perf_counter() - began) * 1000
                log.info("%s %s %r %d %.0f ms", request_id, scope["method"], scope["path"][:200], status, took_ms)


class ErrorsAsProblems:
    """Gateway errors, and bugs, become answers in the path's own wording if nothing has been sent yet."""

    def __init__(self, app: ASGIApp, wording_of: Callable[[str], Wording]) -> None:
        self._app = app
        self._wording_of = wording_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except GatewayError as problem:
            if started:
                raise
            await self._word(problem, scope)(scope, receive, send)
        except ClientLeft:
            raise
        except Exception as bug:
            # Never the exception's text or its frames' values: either may quote a prompt or an image.
            trace = bug.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "nowhere"
            request_id = scope.get("state", {}).get("request_id")
            log.error("%s bug: %s at %s", request_id, type(bug).__name__, place)
            if started:
                raise
            error = InternalError("The gateway failed; its log says more under this request's id.")
            await self._word(error, scope)(scope, receive, send)

    def _word(self, error: GatewayError, scope: Scope) -> Response:
        request_id = scope.get("state", {}).get("request_id", "")
        return self._wording_of(scope["path"]).response(error, request_id)
