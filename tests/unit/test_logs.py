import asyncio
import io
import json
import logging
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from select import PIPE_BUF
from typing import Any

import orjson
import pytest

from server.errors import ConfigError
from server.logs import JsonLines, LogFormat, TextLines, configure_logs, describe, write_to
from server.record import RequestRecord, begin_record
from server.request_lines import RequestLines, encode_text, log_request

SECRET = "SECRET"
UNSHOWN = "said something at lib/python/module.py:7; its words are not shown"


def record(name: str, message: str, *arguments: object, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.WARNING, "/x/lib/python/module.py", 7, message, arguments, None)
    made.__dict__.update(extra)
    return made


def json_of(made: logging.LogRecord) -> dict[str, Any]:
    line = JsonLines().format(made)
    assert "\n" not in line
    fields: dict[str, Any] = json.loads(line)
    return fields


def failing(message: str) -> BaseException:
    try:
        try:
            raise KeyError(message)
        except KeyError as cause:
            raise ValueError(message) from cause
    except ValueError as problem:
        return problem


@pytest.fixture
def restored() -> Iterator[None]:
    """The process's logging, as pytest had it."""
    root = logging.getLogger()
    before, last_resort = (root.level, root.handlers[:]), logging.lastResort
    yield
    RequestLines.of_process = None
    logging.lastResort = last_resort
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    logging.getLogger("fovea").setLevel(logging.NOTSET)


def test_our_own_record_is_one_line_of_json_with_its_fields() -> None:
    fields = json_of(
        record("fovea.engines", "%s is %s", "engine-0", "ready", fields={"engine": "engine-0", "n": 3})
    )
    assert fields.pop("time").endswith("+00:00")
    assert fields == {
        "level": "warning",
        "logger": "fovea.engines",
        "event": "engine-0 is ready",
        "engine": "engine-0",
        "n": 3,
    }


async def test_a_record_made_during_a_request_bears_its_id() -> None:
    async def stage() -> str:
        return str(json_of(record("fovea", "x")).get("request_id"))

    begin_record("req-1")
    assert await asyncio.create_task(stage()) == "req-1"


@pytest.mark.parametrize("formatter", [JsonLines(), TextLines()])
def test_no_line_can_be_forged(formatter: logging.Formatter) -> None:
    forged = 'a\r\n{"level":"info"}\u2028\u202eb\x1b[2J'
    line = formatter.format(record("fovea", "path %s", forged, fields={"path": forged}))
    assert len(line.splitlines()) == 1
    assert line.isprintable()


@pytest.mark.parametrize(
    ("name", "message", "shown"),
    [
        (
            "asyncio",
            f"Task exception {SECRET}",
            UNSHOWN,
        ),
        ("aiohttp.client", "cannot read %s", UNSHOWN),
        ("foveal", "%s", UNSHOWN),
        ("uvicorn.error", "Invalid request %s", "Invalid request %s"),
        (
            "uvicorn.error",
            f"Traceback\n{SECRET}",
            UNSHOWN,
        ),
    ],
)
def test_the_words_of_libraries_are_not_shown(name: str, message: str, shown: str) -> None:
    fields = json_of(record(name, message, *([SECRET] if "%s" in message else [])))
    assert fields["event"] == shown


@pytest.mark.parametrize("formatter", [JsonLines(), TextLines()])
def test_an_exception_is_types_and_places(formatter: logging.Formatter) -> None:
    problem = failing(SECRET)
    line = formatter.format(record("fovea", "bug", exc_info=(ValueError, problem, problem.__traceback__)))
    assert SECRET not in line
    assert "ValueError at tests/unit/test_logs.py:" in line
    assert "caused by KeyError" in line


def test_groups_and_circles_of_exceptions_are_described() -> None:
    group = ExceptionGroup(SECRET, [failing(SECRET)])
    assert describe(group).startswith("ExceptionGroup at nowhere; caused by ValueError at ")
    one, other = ValueError(SECRET), KeyError(SECRET)
    one.__cause__, other.__cause__ = other, one
    assert describe(one) == "ValueError at nowhere; caused by KeyError at nowhere"


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_request_is_one_line_and_two_where_the_audit_has_its_file(
    form: LogFormat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restored: None
) -> None:
    request = RequestRecord("req-1", "POST", "/v1/x", 200, ms=1.26, tenant="lab", key="ci", images=["a1b2c3d4"])
    for file, lines in ((None, 1), (tmp_path / "audit.jsonl", 1)):
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        logs = configure_logs(form, "info", file, 10**6, 2)
        log_request(request)
        assert logs.flush(10)
        said = stream.getvalue().splitlines()
        assert len(said) == lines
        assert ("a1b2c3d4" in said[0], "lab" in said[0]) == (file is None, True)
    (audited,) = map(orjson.loads, (tmp_path / "audit.jsonl").read_bytes().splitlines())
    assert audited["logger"] == "fovea.audit"
    assert (audited["images"], audited["key"], audited["ms"]) == (["a1b2c3d4"], "ci", 1.3)


def test_the_audit_file_is_its_owners_and_bounded(tmp_path: Path, restored: None) -> None:
    file = tmp_path / "audit.jsonl"
    logs = configure_logs("json", "info", file, 1000, 2)
    for number in range(100):
        log_request(RequestRecord(f"req-{number}", "POST", "/v1/x", 200))
    assert logs.flush(10)
    files = sorted(tmp_path.iterdir())
    assert [each.name for each in files] == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]
    assert all(each.stat().st_size <= 1000 and stat.S_IMODE(each.stat().st_mode) == 0o600 for each in files)
    assert "req-99" in file.read_text()


def test_an_audit_file_that_cannot_be_written_stops_the_start(tmp_path: Path, restored: None) -> None:
    with pytest.raises(ConfigError, match="cannot write the audit file"):
        configure_logs("json", "info", tmp_path / "none" / "audit.jsonl", 1000, 2)


def test_lost_audit_lines_are_told_once_and_without_them(monkeypatch: pytest.MonkeyPatch, restored: None) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs = configure_logs("json", "info", Path("/dev/full"), 1000, 2)
    for _ in range(3):
        log_request(RequestRecord("req-1", "POST", "/v1/x", 200, tenant=SECRET))
        assert logs.flush(10)
    lost = [line for line in stream.getvalue().splitlines() if "audit lines are being lost: OSError" in line]
    assert len(lost) == 1
    assert "Traceback" not in stream.getvalue()
    assert SECRET not in lost[0]


def test_a_request_is_told_whatever_the_level_and_its_shorter_line_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restored: None
) -> None:
    for file in (None, tmp_path / "audit.jsonl"):
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        logs = configure_logs("json", "warning", file, 10**6, 2)
        log_request(RequestRecord("req-1", "POST", "/v1/x", 200))
        assert logs.flush(10)
        assert stream.getvalue().count("req-1") == (file is None)
    assert (tmp_path / "audit.jsonl").read_text().count("req-1") == 1


@pytest.mark.parametrize("form", ["json", "text"])
def test_lines_come_in_the_order_in_which_they_were_said(
    form: LogFormat, monkeypatch: pytest.MonkeyPatch, restored: None
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs = configure_logs(form, "info", None, 1000, 2)
    for number in range(100):
        log_request(RequestRecord(f"req-{number:03d}", "POST", "/v1/x", 200))
        logging.getLogger("fovea").info("said req-%03d", number)
    assert logs.flush(10)
    lines = stream.getvalue().splitlines()
    assert [f"req-{n // 2:03d}" in line for n, line in enumerate(lines)] == [True] * 200


@pytest.mark.parametrize("model", ["a\u2028b\u202e", "x" * 10_000])
def test_no_name_of_a_model_makes_more_of_a_requests_line(
    model: str, monkeypatch: pytest.MonkeyPatch, restored: None
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs = configure_logs("json", "info", None, 1000, 2)
    log_request(RequestRecord("req-1", "POST", "/v1/x", 200, model=model))
    assert logs.flush(10)
    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()
    assert len(line) < 2500


def test_text_and_json_say_the_same() -> None:
    fields = {
        "time": "t",
        "level": "info",
        "logger": "fovea.audit",
        "event": "request",
        "status": 200,
        "images": ["a"],
    }
    assert encode_text(fields) == b't info    fovea.audit: request status=200 images=["a"]'


FAULTS = {
    "main": "raise ValueError(secret)",
    "thread": "t = threading.Thread(target=fail, args=(secret,)); t.start(); t.join()",
    "finalizer": "type('Broken', (), {'__del__': lambda self: fail(secret)})()",
    "warning": "warnings.warn(secret)",
    "task": "asyncio.run(forgotten(secret))",
    "callback": "asyncio.run(called_back(secret))",
    "crash": "held = secret; faulthandler._sigabrt()",
}
PROGRAM = """
import asyncio, faulthandler, sys, threading, warnings
from server.crash import log_loop_fault, tell_no_values
from server.logs import configure_logs
from pathlib import Path
def fail(text):
    raise ValueError(text)
async def failing(text):
    fail(text)
async def forgotten(text):
    asyncio.get_running_loop().set_exception_handler(log_loop_fault)
    task = asyncio.create_task(failing(text))
    await asyncio.sleep(0)
    del task
async def called_back(text):
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(log_loop_fault)
    loop.call_soon(fail, text)
    await asyncio.sleep(0)
tell_no_values()
configure_logs("json", "debug", None, 1000, 2)
secret = sys.stdin.read()
"""


@pytest.mark.parametrize(("kind", "statement"), FAULTS.items())
def test_faults_outside_of_requests_leave_places_and_no_values(kind: str, statement: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + statement], input=SECRET, capture_output=True, text=True, timeout=60
    )
    said = done.stdout + done.stderr
    assert SECRET not in said
    if kind == "crash":
        assert done.returncode == -6
        assert "Fatal Python error: Aborted" in said
        return
    (line,) = map(orjson.loads, said.splitlines())
    assert line["logger"] == "fovea.faults"
    assert line["event"].startswith("UserWarning at " if kind == "warning" else ("uncaught ", "ValueError in "))
    assert kind == "warning" or "ValueError at " in line["exception"]


def test_what_is_written_at_once_is_whole_lines_that_a_pipe_takes_in_one_piece() -> None:
    class Writes(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

    written: list[str] = []
    lines = [b"x" * size + b"\n" for size in (10, 3000, 2000, 9000, 1, 4000)]
    write_to(Writes())(lines)
    assert "".join(written).encode() == b"".join(lines)
    assert all(text.endswith("\n") and (len(text) <= PIPE_BUF or text.count("\n") == 1) for text in written)
    assert len(written) < len(lines)
