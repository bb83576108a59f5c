"""Where a request's time went: spans, noted by its stages as they come and go, and made OpenTelemetry's afterwards.

Nothing of OpenTelemetry is imported here: what a stage does is read a clock and add to a list. What becomes of a
request's spans once it has ended, `traces/tracer.py` says.
"""

import random
import time
from typing import Literal

# As OTLP's attributes, those that are of use here.
Attribute = str | int | float | bool
Kind = Literal["internal", "server", "client"]
# A whole request's, once it has ended: its own span first.
Spans = tuple["Span", ...]
# Of one request: the rest is left out, and counted in an attribute of the request's own.
MOST_SPANS = 512
# Names, not secrets. Seeded by the kernel, so that no two processes give the same ones.
numbers = random.Random()


class Span:
    """One piece of a request's time. Its pieces are its children: `enter` ends the one before, `begin` does not.

    Attributes hold numbers and names of ours, never what a caller wrote.
    """

    __slots__ = ("_open", "attributes", "began", "ended", "error", "kind", "name", "parent_id", "span_id", "trace")

    def __init__(self, trace: "Trace", name: str, parent_id: int, kind: Kind = "internal") -> None:
        self.trace = trace
        self.name = name
        self.span_id = make_id(64)
        self.parent_id = parent_id
        self.kind = kind
        self.attributes: dict[str, Attribute] = {}
        self.error = ""
        self.began = time.perf_counter_ns()
        self.ended = 0
        self._open: Span | None = None

    @property
    def traceparent(self) -> str:
        """What makes somebody else's spans children of this one."""
        return write_traceparent(self.trace.trace_id, self.span_id, sampled=True)

    @property
    def stage(self) -> "Span":
        """The piece that was entered last and is not over, or the span itself."""
        return self._open or self

    def begin(self, name: str, kind: Kind = "internal") -> "Span":
        span = Span(self.trace, name, self.span_id, kind)
        self.trace.add(span)
        return span

    def enter(self, name: str) -> None:
        """The next of pieces that follow one another."""
        self.leave()
        self._open = self.begin(name)

    def leave(self, error: str = "") -> None:
        """The piece that was entered last, if there is one, is over."""
        if self._open is not None:
            self._open.end(error)
            self._open = None

    def end(self, error: str = "") -> None:
        """Once: whoever ends it again changes nothing. `error` is a code, never a text."""
        if self.ended:
            return
        self.leave(error)
        self.error = error
        self.ended = time.perf_counter_ns()


def enter(span: Span | None, name: str) -> None:
    """The next piece of a span, where there is one."""
    if span is not None:
        span.enter(name)


class Trace:
    """A request's spans, its own first. `remote` says that a caller's span stands above that one; `by_caller`, that
    it was the caller who asked for the trace."""

    __slots__ = ("by_caller", "epoch_ns", "left_out", "remote", "spans", "trace_id")

    def __init__(self, trace_id: int, parent_id: int = 0, by_caller: bool = False) -> None:
        self.trace_id = trace_id
        self.remote = parent_id != 0
        self.by_caller = by_caller
        self.left_out = 0
        # Adds up with `time.perf_counter_ns` to Unix time.
        self.epoch_ns = time.time_ns() - time.perf_counter_ns()
        self.spans = [Span(self, "", parent_id, "server")]

    def add(self, span: Span) -> None:
        if len(self.spans) < MOST_SPANS:
            self.spans.append(span)
        else:
            self.left_out += 1


def make_id(bits: int) -> int:
    """Zero is no id (W3C Trace Context)."""
    return numbers.getrandbits(bits) or 1


def write_traceparent(trace_id: int, span_id: int, sampled: bool) -> str:
    """https://www.w3.org/TR/trace-context/#traceparent-header"""
    return f"00-{trace_id:032x}-{span_id:016x}-{sampled:02x}"
