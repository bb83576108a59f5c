"""Logs: one line a record, JSON or text, that holds nothing a caller sent and cannot be forged by what one sends.

Our own loggers (`fovea.*`) name only what is ours. What libraries say may quote anything (asyncio prints exceptions
and arguments), so of theirs only the place is told, and of exceptions only types and places, never their text.
"""

import logging
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from select import PIPE_BUF
from typing import Any, Literal, TextIO

from server.audit_file import AuditFile
from server.errors import ConfigError
from server.line_writer import LineWriter
from server.printable import printable
from server.record import current_record
from server.request_lines import RequestLines, encode_json, encode_text, stamp

LogFormat = Literal["json", "text"]

MOST_CHARACTERS = 2000
MOST_FRAMES = 12
# A dying process waits so long for its last words to be written.
LAST_WORDS_S = 1.0


class Lines(logging.Formatter):
    """Base of both forms: what a record may say."""

    def fields_of(self, record: logging.LogRecord) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "time": stamp(record.created),
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
        return encode_json(self.fields_of(record)).decode()


class TextLines(Lines):
    def format(self, record: logging.LogRecord) -> str:
        return encode_text(self.fields_of(record)).decode()


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


class WrittenLines(logging.Handler):
    """Hands lines to the writer that requests' lines go to, in one order with them."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record).encode(errors="replace") + b"\n"
        except Exception:  # noqa: BLE001 - as all handlers do; logging's own would print the record's arguments
            return
        self._writer.put(line, urgent=True)
        if record.levelno >= logging.CRITICAL:
            self._writer.flush(LAST_WORDS_S)


class LogFiles:
    """Where this process's lines go: made anew by each `configure_logs`."""

    def __init__(self, form: LogFormat, stream: TextIO) -> None:
        self._encode = encode_json if form == "json" else encode_text
        self.formatter = JsonLines() if form == "json" else TextLines()
        self.errors = LineWriter("log", write_to(stream), self._word_lost, lambda _: None)
        self.audit: LineWriter | None = None

    def open_audit(self, path: Path, max_bytes: int, backups: int) -> None:
        """Raises ConfigError."""
        try:
            file = AuditFile(path, max_bytes, backups)
        except OSError as problem:
            raise ConfigError(f"cannot write the audit file {path}: {problem.strerror}") from problem
        self.audit = LineWriter("audit", file.write, self._word_lost, tell_audit_failing)

    def requests(self, with_access: bool) -> RequestLines:
        """A request is one line here: the shorter one only where the longer one goes to a file of its own."""
        if self.audit is None:
            return RequestLines(self.errors, self._encode)
        return RequestLines(self.audit, encode_json, self.errors if with_access else None, self._encode)

    def flush(self, within_s: float) -> bool:
        return self.errors.flush(within_s) and (self.audit is None or self.audit.flush(within_s))

    def close(self) -> None:
        if self.audit is not None:
            self.audit.close()
        self.errors.close()

    def _word_lost(self, count: int) -> bytes:
        at = stamp(datetime.now(UTC).timestamp())
        event = f"{count} lines were lost: they came faster than they were written"
        return self._encode({"time": at, "level": "error", "logger": "fovea", "event": event}) + b"\n"


def write_to(stream: TextIO) -> Callable[[list[bytes]], None]:
    """Whole lines, and no more at once than a pipe takes in one piece: several workers may write to it."""

    def write(lines: list[bytes]) -> None:
        piece = bytearray()
        for line in lines:
            if piece and len(piece) + len(line) > PIPE_BUF:
                stream.write(piece.decode())
                stream.flush()
                piece.clear()
            piece += line
        stream.write(piece.decode())
        stream.flush()

    return write


def tell_audit_failing(problem: OSError) -> None:
    logging.getLogger("fovea").error("audit lines are being lost: %s", type(problem).__name__)


def configure_logs(
    form: LogFormat, level: str, audit_file: Path | None, audit_max_bytes: int, audit_backups: int
) -> LogFiles:
    """For the whole process, whatever libraries log included; requests' lines are `requests` of what it gives.

    Raises ConfigError.
    """
    files = LogFiles(form, sys.stderr)
    handler = WrittenLines(files.errors)
    handler.setFormatter(files.formatter)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # For loggers that pass nothing on and have no handler: uvicorn makes such a one.
    logging.lastResort = handler
    logging.getLogger("fovea").setLevel(level.upper())
    if audit_file is not None:
        files.open_audit(audit_file, audit_max_bytes, audit_backups)
    RequestLines.of_process = files.requests(logging.getLogger("fovea").isEnabledFor(logging.INFO))
    return files
