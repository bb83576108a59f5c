"""What a load run leaves behind, between driving and reporting: a folder of three files that hold these types.

    run.json        one `RunInfo`, written at the beginning as `unfinished`, and whole at the end
    requests.jsonl  one `RequestRecord` a line, in the order in which they ended
    metrics.jsonl   one `MetricSample` a line, in the order in which they were taken

All times are seconds of one monotonic clock since the run began (`at`, `*_s`), but `RunInfo.began_at`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

SCHEMA = "fovea-loadtest-records/1"
RUN_FILE, REQUESTS_FILE, METRICS_FILE = "run.json", "requests.jsonl", "metrics.jsonl"
NOT_SENT = "not_sent"
MOST_TOKEN_TIMES = 4096  # of one request: an answer of more chunks keeps its first ones

Record = TypeVar("Record", "RequestRecord", "MetricSample")


class RecordsError(ValueError):
    """A folder that is not a load run's, in a sentence that names the file."""


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request. It was answered if and only if `code` is empty.

    `number` is its place in the plan: the same scenario and seed plan the same request under the same number,
    so two runs are compared in pairs by it. Where `planned_s` is known (open loops), latencies count from it:
    a request that the driver or a full server kept from leaving in time had to wait all the same (coordinated
    omission).
    """

    number: int
    planned_s: float | None  # None: closed loop, sent as soon as its caller was free
    sent_s: float  # its first byte
    first_byte_s: float | None  # the answer's status line; None: none came
    token_s: tuple[float, ...]  # of each chunk with words in it, at most MOST_TOKEN_TIMES
    ended_s: float  # the answer's last byte, or when it failed
    status: int  # HTTP; 0: none came
    # "" answered whole; else the server's error code, or timeout | connection | protocol | cut, or not_sent: a turn
    # that can no longer be, since one before it was not answered. Its times are those of that one's end.
    code: str
    prompt_tokens: int = 0  # by the server's usage, as are:
    output_tokens: int = 0
    pictures: tuple[str, ...] = ()  # a name for each, the same for the same bytes
    picture_bytes: int = 0
    tenant: str = ""  # as the scenario names it
    priority: str = ""
    conversation: int | None = None
    turn: int = 0  # within its conversation, from 0
    engine: str = ""  # the header x-fovea-engine
    image_cache: str = ""  # the header x-fovea-image-cache
    warm_up: bool = False  # sent before the run counts: no figure is taken from it

    @property
    def answered(self) -> bool:
        return not self.code

    @property
    def sent(self) -> bool:
        return bool(self.status) or self.code != NOT_SENT

    @property
    def due_s(self) -> float:
        """When it should have been sent: latencies count from here."""
        return self.sent_s if self.planned_s is None else self.planned_s

    @property
    def ttft_s(self) -> float | None:
        """Seconds to the first chunk with words in it; None where none came."""
        return self.token_s[0] - self.due_s if self.token_s else None

    @property
    def e2e_s(self) -> float:
        return self.ended_s - self.due_s


@dataclass(frozen=True, slots=True)
class MetricSample:
    """One scrape of one /metrics page.

    `values` holds the samples that `loadtest.reporting.families.is_kept` keeps, by the name that
    `loadtest.reporting.families.read_page` gives them: `name` or `name{label="value",...}` as the page has it.
    """

    at_s: float
    source: str  # the page's address
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What was run against what. `counts_from_s` .. `ended_s` is the time that figures are taken over."""

    scenario: str  # its name
    scenario_text: str  # the YAML as it was read
    seed: int
    url: str  # without user, password or query
    model: str
    began_at: str  # ISO 8601, UTC
    counts_from_s: float  # the end of the warm-up
    ended_s: float  # the last request's end
    slo_ttft_ms: float | None = None
    slo_itl_ms: float | None = None  # of a request's mean
    slo_e2e_ms: float | None = None
    driver: str = "fovea"  # fovea | guidellm | aiperf
    fovea: str = ""  # version of this program
    command: str = ""
    interrupted: bool = False  # ended before its plan did
    unfinished: bool = False  # under way, or killed: nothing was written after its last request
    machine: dict[str, str] = field(default_factory=dict)  # of the driver: cpu, cores, memory, gpu, python
    server: dict[str, str] = field(default_factory=dict)  # versions that the server told
    schema: str = SCHEMA


@dataclass(frozen=True, slots=True)
class Run:
    """A whole run, read or just driven."""

    info: RunInfo
    requests: tuple[RequestRecord, ...]
    samples: tuple[MetricSample, ...]


_INFO, _REQUEST, _SAMPLE = TypeAdapter(RunInfo), TypeAdapter(RequestRecord), TypeAdapter(MetricSample)


def make_line(record: RequestRecord | MetricSample) -> bytes:
    """A line of JSON, its end included."""
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def write_run(folder: Path, info: RunInfo) -> None:
    """Written as `unfinished` first, and whole last."""
    folder.mkdir(parents=True, exist_ok=True)
    text = orjson.dumps(info, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    (folder / RUN_FILE).write_bytes(text)


def read_run(folder: Path) -> Run:
    """Raises RecordsError where a file is missing or is not what it should be. Of a run that was killed, what is
    there: its counted time is that of its requests, and half a line at the end is none."""
    try:
        text = (folder / RUN_FILE).read_bytes()
        info = _INFO.validate_json(text)
    except (OSError, ValidationError) as problem:
        raise RecordsError(f"{folder / RUN_FILE} is not a load run's: {_first(problem)}") from problem
    if info.schema != SCHEMA:
        raise RecordsError(f"{folder / RUN_FILE} is of the schema {info.schema}; this program reads {SCHEMA}.")
    requests = tuple(_read(folder / REQUESTS_FILE, _REQUEST, info.unfinished))
    if info.unfinished:
        counts_from_s = min((one.due_s for one in requests if not one.warm_up), default=0.0)
        ended_s = max((one.ended_s for one in requests), default=0.0)
        info = replace(info, counts_from_s=counts_from_s, ended_s=ended_s)
    metrics = folder / METRICS_FILE
    return Run(info, requests, tuple(_read(metrics, _SAMPLE, info.unfinished)) if metrics.exists() else ())


def _read(path: Path, adapter: "TypeAdapter[Record]", unfinished: bool = False) -> Iterator[Record]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if unfinished and not line.endswith(b"\n"):
                    return
                try:
                    yield adapter.validate_json(line)
                except ValidationError as problem:
                    raise RecordsError(f"{path}, line {number}: {_first(problem)}") from problem
    except OSError as problem:
        raise RecordsError(f"{path} cannot be read: {problem.strerror}") from problem


def _first(problem: OSError | ValidationError) -> str:
    if isinstance(problem, OSError):
        return str(problem.strerror)
    first = problem.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the text'}: {first['msg']}"
