"""The lines of a request that has ended, made of its record without the machinery of logging: it is one each."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, ClassVar

import orjson

from server.line_writer import LineWriter
from server.printable import printable
from server.record import RequestRecord

Encode = Callable[[dict[str, Any]], bytes]

MOST_CHARACTERS = 2000
# The audit line's, which holds all of the record, and the ordinary one's. What is empty is left out.
AUDIT_FIELDS = tuple(name for name in RequestRecord.__slots__ if name != "request_id")
ACCESS_FIELDS = ("method", "path", "status", "code", "ms", "tenant", "route", "model", "engine")
audit_values, access_values = attrgetter(*AUDIT_FIELDS), attrgetter(*ACCESS_FIELDS)


class Clock:
    """The second that was last asked for, worded: most lines are of the same one."""

    second = -1
    worded = ""


def stamp(at_s: float) -> str:
    """Unix time as ISO 8601, to the millisecond."""
    second = int(at_s)
    if second != Clock.second:
        Clock.worded = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        Clock.second = second
    return f"{Clock.worded}.{int((at_s - second) * 1000):03d}+00:00"


def encode_json(fields: dict[str, Any]) -> bytes:
    return orjson.dumps(fields, default=str)


def encode_text(fields: dict[str, Any]) -> bytes:
    fields = dict(fields)
    head = f"{fields.pop('time')} {fields.pop('level'):<7} {fields.pop('logger')}: {fields.pop('event')}"
    return " ".join([head, *(f"{name}={encode_json(value).decode()}" for name, value in fields.items())]).encode()


class RequestLines:
    """`audit` takes the whole line of every request; `access`, where there is one, a shorter one beside it."""

    of_process: "ClassVar[RequestLines | None]" = None

    def __init__(
        self,
        audit: LineWriter,
        encode: Encode,
        access: LineWriter | None = None,
        encode_access: Encode = encode_json,
    ) -> None:
        self._audit, self._encode = audit, encode
        self._access, self._encode_access = access, encode_access

    def tell(self, record: RequestRecord) -> None:
        record.ms = round(record.ms, 1)
        head = {"time": stamp(time.time()), "level": "info", "logger": "fovea.audit", "event": "request"}
        head["request_id"] = record.request_id
        if self._access is not None:
            values = zip(ACCESS_FIELDS, access_values(record), strict=True)
            self._access.put(make_line({**head, "logger": "fovea.access"}, values, self._encode_access))
        self._audit.put(make_line(head, zip(AUDIT_FIELDS, audit_values(record), strict=True), self._encode))


def make_line(head: dict[str, Any], values: "zip[tuple[str, Any]]", encode: Encode) -> bytes:
    fields = head | {name: value for name, value in values if value or name in ("status", "ms")}
    line = encode(fields)
    # Names of models are an engine's: whatever they are, a line is one line, and of a bounded length.
    if len(line) > MOST_CHARACTERS or not line.decode(errors="replace").isprintable():
        line = encode({name: fit(value) for name, value in fields.items()})
    return line + b"\n"


def fit(value: Any) -> Any:
    return printable(value, MOST_CHARACTERS) if isinstance(value, str) else value


def log_request(record: RequestRecord) -> None:
    """The lines of a request that has ended; none in a process that has configured no logs."""
    if RequestLines.of_process is not None:
        RequestLines.of_process.tell(record)
