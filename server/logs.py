"""Logs: one line a record, JSON or text, that holds nothing a caller sent and cannot be forged by what one sends.

Our own loggers (`fovea.*`) name only what is ours. What libraries say may quote anything (asyncio prints exceptions
and arguments), so of theirs only the place is told, and of exceptions only types and places, never their text.
"""

import logging
import os
import sys
import traceback
from dataclasses import fields as fields_of_class
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Literal, TextIO

import orjson

from server.errors import ConfigError
from server.printable import printable
from server.record import RequestRecord, current_record

LogFormat = Literal["json", "text"]

MOST_CHARACTERS = 2000
MOST_FRAMES = 12
# Of the record, what the ordinary line of a request holds; the audit line holds all of it.
ACCESS_FIELDS = ("method", "path", "status", "code", "ms", "tenant", "route", "model", "engine")


class Lines(logging.Formatter):
    """Base of both forms: what a record may say."""

    def fields_of(self, record: logging.LogRecord) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": printable(event_of(record), MOST_CHARACTERS),
        }
        if request_id := current_record().request_id:
            fields["request_id"] = request_id
        for name, value in getattr(record, "fields", {}).items():
            fields[name] = printable(value, MOST_CHARACTERS) if isinstance(value, str) else value
        if record.exc_info and record.exc_info[1]:
            fields["exception"] = describe(record.exc_info[1])
        return fields


class JsonLines(Lines):
    def format(self, record: logging.LogRecord) -> str:
        return orjson.dumps(self.fields_of(record), default=str).decode()


class TextLines(Lines):
    def format(self, record: logging.LogRecord) -> str:
        fields = self.fields_of(record)
        head = f"{fields.pop('time')} {fields.pop('level'):<7} {fields.pop('logger')}: {fields.pop('event')}"
        return " ".join([head, *(f"{name}={orjson.dumps(value).decode()}" for name, value in fields.items())])


def event_of(record: logging.LogRecord) -> str:
    if record.name == "fovea" or record.name.startswith("fovea."):
        return record.getMessage()
    place = shorten(record.pathname)
    if record.name.startswith("uvicorn"):
        # Its messages are patterns, of which the arguments are left out; one that is not is a whole traceback.
        pattern = str(record.msg).strip()
        if "\n" not in pattern:
            return pattern
    return f"said something at {place}:{record.lineno}; its words are not shown"


def describe(problem: BaseException) -> str:
    """An exception and what caused it, by types and places: their texts and values may quote a caller."""
    chain: list[str] = []
    seen: set[int] = set()
    at: BaseException | None = problem
    while at is not None and id(at) not in seen and len(chain) < 4:
        seen.add(id(at))
        codes = [(frame.f_code, line) for frame, line in traceback.walk_tb(at.__traceback__)][-MOST_FRAMES:]
        places = " > ".join(f"{shorten(code.co_filename)}:{line} {code.co_name}" for code, line in codes)
        chain.append(f"{type(at).__qualname__} at {places or 'nowhere'}")
        if isinstance(at, BaseExceptionGroup):
            at = at.exceptions[0]
        else:
            at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return "; caused by ".join(chain)


def shorten(path: str) -> str:
    return "/".join(Path(path).parts[-3:])


class StreamLines(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:
        """Logging's own would print the record with its arguments."""


class AuditFile(RotatingFileHandler):
    """Readable by its owner alone. What cannot be written is told in the ordinary log, once in a row."""

    _failing = False

    def _open(self) -> Any:
        return open(
            self.baseFilename, "a", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)
        )

    def emit(self, record: logging.LogRecord) -> None:
        self._failed = False
        super().emit(record)
        self._failing = self._failed

    def handleError(self, record: logging.LogRecord) -> None:
        self._failed = True
        if not self._failing:
            kind = sys.exc_info()[0]
            logging.getLogger("fovea").error("audit lines are being lost: %s", kind.__name__ if kind else "unknown")


def configure_logs(
    form: LogFormat, level: str, audit_file: Path | None, audit_max_bytes: int, audit_backups: int
) -> None:
    """For the whole process, whatever libraries log included. Raises ConfigError."""
    formatter = JsonLines() if form == "json" else TextLines()
    handler = StreamLines(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # For loggers that pass nothing on and have no handler: uvicorn makes such a one.
    logging.lastResort = handler
    logging.getLogger("fovea").setLevel(level.upper())
    audit = logging.getLogger("fovea.audit")
    # A request is one line here: the shorter one only where the longer one goes to a file of its own.
    audit.propagate = audit_file is None
    logging.getLogger("fovea.access").disabled = audit_file is None
    audit.setLevel(logging.INFO)
    audit.handlers.clear()
    if audit_file is None:
        return
    try:
        file = AuditFile(audit_file, maxBytes=audit_max_bytes, backupCount=audit_backups, encoding="utf-8")
    except OSError as problem:
        raise ConfigError(f"cannot write the audit file {audit_file}: {problem.strerror}") from problem
    file.setFormatter(JsonLines())
    audit.addHandler(file)


def log_request(record: RequestRecord) -> None:
    """The lines of a request that has ended."""
    values = ((each.name, getattr(record, each.name)) for each in fields_of_class(record))
    everything = {name: value for name, value in values if value not in ("", [], 0)}
    everything["status"] = record.status
    everything["ms"] = round(record.ms, 1)
    access = {name: everything[name] for name in ACCESS_FIELDS if name in everything}
    logging.getLogger("fovea.access").info("request", extra={"fields": access})
    logging.getLogger("fovea.audit").info("request", extra={"fields": everything})
