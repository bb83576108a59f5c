"""What a caller says about the trace that its request is part of (W3C Trace Context).

`tracestate` and `baggage` are let go of, as the standard allows: they hold whatever a caller writes.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
SAMPLED = 1


class Caller(NamedTuple):
    """A span of somebody else's, and whether it is kept there."""

    trace_id: int
    span_id: int
    sampled: bool


def read_traceparent(headers: Iterable[tuple[bytes, bytes]]) -> Caller | None:
    """None where there is none, several, or what the standard calls invalid."""
    found = [value for name, value in headers if name == b"traceparent"]
    match = TRACEPARENT.fullmatch(found[0]) if len(found) == 1 else None
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    # Later versions may add to it; version 0 has nothing more, and 0xff is none.
    if version == b"ff" or (version == b"00" and more is not None):
        return None
    caller = Caller(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & SAMPLED))
    return caller if caller.trace_id and caller.span_id else None
