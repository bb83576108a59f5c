"""What traces show of one call of an engine: when it was sent, when it began to answer, how it ended."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from server.domain import Answer, ReadyRequest
from server.errors import GatewayError
from server.record import RequestRecord, current_record
from server.span import Span

# OpenTelemetry's words for what a call is for, where it has any (`gen_ai.operation.name`).
OPERATIONS = {"completions": "text_completion", "responses": "chat"}


class Traced(NamedTuple):
    """What a call takes along: the header that makes an engine's spans part of the trace, or tells it that there is
    none; and whom to tell that the request has gone out."""

    traceparent: str = ""
    when_sent: Callable[[], object] | None = None


UNTRACED = Traced()


class Call:
    """A span from before the engine is connected to until the answer has been passed on. Of a request that is not
    traced, only the header that says so."""

    __slots__ = ("_span", "traced")

    def __init__(self, record: RequestRecord, request: ReadyRequest, engine: str, number: int, hedge: bool) -> None:
        """`number`: of calls before, for the same request."""
        self._span = begin_span(record.span, request, engine, number, hedge) if record.span is not None else None
        if self._span is not None:
            self.traced = Traced(self._span.traceparent, self._sent)
        else:
            self.traced = Traced(record.traceparent)

    def _sent(self) -> None:
        if self._span is not None:
            self._span.enter("first byte")

    def answered(self, answer: Answer) -> None:
        if self._span is not None:
            self._span.leave()
            self._span.attributes["http.response.status_code"] = answer.status
            if answer.whole is not None:
                self._span.end()

    def end(self, problem: BaseException | None) -> None:
        if self._span is not None:
            self._span.end(code_of(problem))


def begin_call(request: ReadyRequest, engine: str, number: int, hedge: bool) -> Call | None:
    """None where traces are off."""
    record = current_record()
    if record.span is None and not record.traceparent:
        return None
    return Call(record, request, engine, number, hedge)


def begin_span(above: Span, request: ReadyRequest, engine: str, number: int, hedge: bool) -> Span:
    above.leave()  # whatever the request has waited for
    operation = OPERATIONS.get(request.route, request.route)
    span = above.begin(f"{operation} {request.model}", "client")
    span.attributes |= {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": request.model,
        "gen_ai.request.stream": request.stream,
        "http.request.method": "POST",
        "fovea.engine": engine,
    }
    if number:
        span.attributes["http.request.resend_count"] = number
    if hedge:
        span.attributes["fovea.hedge"] = True
    if request.cost.max_tokens:
        span.attributes["gen_ai.request.max_tokens"] = request.cost.max_tokens
    span.enter("send")
    return span


def code_of(problem: BaseException | None) -> str:
    """What ended a call, in a word that says nothing of its request."""
    if problem is None:
        return ""
    if isinstance(problem, GatewayError):
        return problem.code
    return "cancelled" if isinstance(problem, asyncio.CancelledError) else type(problem).__name__
