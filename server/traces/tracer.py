"""Begins a request's trace, or not, and hands it on once the request has ended."""

import random
from collections.abc import Callable, Iterable
from typing import Literal

from server.record import RequestRecord
from server.span import Attribute, Spans, Trace, make_id, write_traceparent
from server.traces.traceparent import Caller, read_traceparent

# What becomes of a caller's `traceparent`: nothing; its trace goes on here; and whether it is kept counts, too.
Callers = Literal["ignore", "join", "trust"]
UNTRACED = ("/health", "/metrics")
NO_PATTERN = "none of ours"
# Of what we call a route, in OpenTelemetry's words (`gen_ai.operation.name`).
OPERATIONS = {"chat": "chat", "messages": "chat", "responses": "chat", "completions": "text_completion"}
LOW_BITS = 2**64


class Tracer:
    """Of `ratio` of all requests, chosen by us: a caller's own choice counts only where callers are trusted, and
    then only if the request turns out to be somebody's who is let in."""

    def __init__(self, ratio: float, callers: Callers, take: Callable[[Spans], None]) -> None:
        """`take` is given the spans of each request that has ended."""
        self._ratio = ratio
        self._callers = callers
        self._take = take
        # OpenTelemetry's TraceIdRatioBased: who else samples by it keeps the same traces.
        self._bound = round(ratio * LOW_BITS)

    def begin(self, record: RequestRecord, path: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
        if path.startswith(UNTRACED):
            return
        caller = read_traceparent(headers) if self._callers != "ignore" else None
        trace_id = caller.trace_id if caller is not None else make_id(128)
        if not self._keeps(trace_id, caller):
            # Said to engines too: they need not choose for themselves.
            record.traceparent = write_traceparent(trace_id, make_id(64), sampled=False)
            return
        by_caller = caller is not None and self._callers == "trust"
        record.span = Trace(trace_id, caller.span_id if caller is not None else 0, by_caller).spans[0]

    def _keeps(self, trace_id: int, caller: Caller | None) -> bool:
        if caller is None:
            return trace_id % LOW_BITS < self._bound
        # A caller could choose an id that is always kept.
        return caller.sampled if self._callers == "trust" else random.random() < self._ratio

    def finish(self, record: RequestRecord) -> None:
        """The request has been answered, or its caller has left: `record` says all that is known of it."""
        span, record.span = record.span, None
        if span is None or (span.trace.by_caller and not record.tenant):
            return
        routed = bool(record.path) and record.path != NO_PATTERN
        span.name = f"{record.method} {record.path}" if routed else record.method
        span.attributes.update(attributes_of(record))
        if routed:
            span.attributes["http.route"] = record.path
        if span.trace.left_out:
            span.attributes["fovea.spans_left_out"] = span.trace.left_out
        span.end(record.code)
        # A thread may still look at a picture that nobody waits for: what it adds is no part of it.
        self._take(tuple(span.trace.spans))


def attributes_of(record: RequestRecord) -> dict[str, Attribute]:
    """By OpenTelemetry's conventions for HTTP and generative AI where there are any, else `fovea.`. What is empty
    is left out. Whose request it was stays in the audit's line, which has the same request id."""
    found: dict[str, Attribute] = {
        "http.request.method": record.method if record.method != "other" else "_OTHER",
        "url.scheme": "http",
        "http.response.status_code": record.status,
        "error.type": record.code,
        "http.request.body.size": record.body_bytes,
        "gen_ai.operation.name": OPERATIONS.get(record.route, ""),
        "gen_ai.request.model": record.model,
        "gen_ai.usage.input_tokens": record.prompt_tokens,
        "gen_ai.usage.output_tokens": record.completion_tokens,
        "fovea.request_id": record.request_id,
        "fovea.engine": record.engine,
        "fovea.images": len(record.images),
        "fovea.image_bytes": record.image_bytes,
        "fovea.image_tokens": record.image_tokens,
    }
    return {name: value for name, value in found.items() if value}
