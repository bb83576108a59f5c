"""The lines of a request that has ended, made of its record without the machinery of logging: it is one each."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar

import orjson

from server.line_writer import LineWriter
from server.printable import printable
from server.record import RequestRecord

Encode = Callable[[dict[str, Any]], bytes]

MOST_CHARACTERS = 2000
# Its own escapes leave no control character in ASCII that orjson has written but this one.
DELETE = b"\x7f"


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
        at = stamp(time.time())
        if self._access is not None:
            self._access.put(make_line(access_fields(record, at), self._encode_access))
        self._audit.put(make_line(audit_fields(record, at), self._encode))


def access_fields(record: RequestRecord, at: str) -> dict[str, Any]:
    """Of the ordinary line. What is empty is left out; written out one by one, which takes a third of the time."""
    fields = begin_fields("fovea.access", record, at)
    if record.tenant:
        fields["tenant"] = record.tenant
    if record.route:
        fields["route"] = record.route
    if record.model:
        fields["model"] = record.model
    if record.engine:
        fields["engine"] = record.engine
    return fields


def audit_fields(record: RequestRecord, at: str) -> dict[str, Any]:
    """Of the audit's line: all of the record, likewise."""
    fields = begin_fields("fovea.audit", record, at)
    if record.tenant:
        fields["tenant"] = record.tenant
    if record.key:
        fields["key"] = record.key
    if record.route:
        fields["route"] = record.route
    if record.model:
        fields["model"] = record.model
    if record.engine:
        fields["engine"] = record.engine
    if record.body_bytes:
        fields["body_bytes"] = record.body_bytes
    if record.images:
        fields["images"] = record.images
        fields["image_bytes"] = record.image_bytes
    if record.image_tokens:
        fields["image_tokens"] = record.image_tokens
    if record.prompt_tokens:
        fields["prompt_tokens"] = record.prompt_tokens
    if record.completion_tokens:
        fields["completion_tokens"] = record.completion_tokens
    return fields


def begin_fields(logger: str, record: RequestRecord, at: str) -> dict[str, Any]:
    """What both lines begin with."""
    fields = {
        "time": at,
        "level": "info",
        "logger": logger,
        "event": "request",
        "request_id": record.request_id,
        "method": record.method,
        "path": record.path,
        "status": record.status,
    }
    if record.code:
        fields["code"] = record.code
    fields["ms"] = record.ms
    return fields


def make_line(fields: dict[str, Any], encode: Encode) -> bytes:
    line = encode(fields)
    # Names of models are an engine's: whatever they are, a line is one line, and of a bounded length.
    if len(line) > MOST_CHARACTERS or not is_printable(line):
        line = encode({name: fit(value) for name, value in fields.items()})
    return line + b"\n"


def is_printable(line: bytes) -> bool:
    return DELETE not in line if line.isascii() else line.decode(errors="replace").isprintable()


def fit(value: Any) -> Any:
    return printable(value, MOST_CHARACTERS) if isinstance(value, str) else value


def log_request(record: RequestRecord) -> None:
    """The lines of a request that has ended; none in a process that has configured no logs."""
    if RequestLines.of_process is not None:
        RequestLines.of_process.tell(record)
