"""A run's report: what `report.json` holds, and what page, table, assertions and comparison are made from.

The schema is versioned: a field is added under the same number; one that goes or means something else raises it.
"""

from dataclasses import dataclass
from pathlib import Path

import orjson
from pydantic import TypeAdapter, ValidationError

from loadtest.records import RecordsError
from loadtest.reporting.intervals import Estimate

SCHEMA = "fovea-loadtest-report/1"
REPORT_FILE, PAGE_FILE = "report.json", "report.html"


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds, over `count` answered requests. A percentile is None where fewer than 1 / (1 - share) were."""

    count: int
    mean: Estimate
    p50: Estimate
    p90: Estimate | None
    p95: Estimate | None
    p99: Estimate | None
    most: float


@dataclass(frozen=True, slots=True)
class Rates:
    """Of answered requests, each a second of the counted time."""

    requests_per_s: Estimate
    pictures_per_s: Estimate
    prompt_tokens_per_s: Estimate
    output_tokens_per_s: Estimate


@dataclass(frozen=True, slots=True)
class Goodput:
    """Requests that were answered within every limit of the SLO. One that missed two limits is in `missed` under
    both."""

    slo: dict[str, float]  # milliseconds by ttft_ms | itl_ms | e2e_ms
    within: int
    share: Estimate
    per_s: float
    missed: dict[str, int]  # by ttft_ms | itl_ms | e2e_ms | failed


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted of one thing, by outcome: `source` says by whom."""

    name: str
    source: str
    counts: dict[str, float]


@dataclass(frozen=True, slots=True)
class Tenant:
    name: str
    requests: int
    answered: int
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    e2e_p50_ms: float | None
    e2e_p95_ms: float | None
    within: int | None  # the SLO; None where there is none


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a timeline: (seconds since the run began, value), at most `timelines.MOST_POINTS` of them."""

    label: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    name: str
    unit: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Report:
    fovea: str
    scenario: str
    seed: int
    url: str
    model: str
    driver: str
    began_at: str
    command: str
    machine: dict[str, str]
    server: dict[str, str]
    counted_s: float
    requests: int  # that count: those of the warm-up do not
    answered: int
    warm_up: int
    errors: dict[str, int]  # by code
    rates: Rates
    ttft_ms: Latency | None
    itl_ms: Latency | None  # of each request: the mean time between its tokens
    stall_ms: Latency | None  # of each request: the longest time between two chunks
    e2e_ms: Latency | None
    lag_ms: Latency | None  # how late the driver sent what was planned; None in a closed loop
    goodput: Goodput | None
    tallies: tuple[Tally, ...]
    tenants: tuple[Tenant, ...]
    engines: dict[str, int]  # requests by the engine that answered them
    timelines: tuple[Timeline, ...]
    warnings: tuple[str, ...]
    schema: str = SCHEMA


_REPORT = TypeAdapter(Report)


def write_report(folder: Path, report: Report) -> Path:
    path = folder / REPORT_FILE
    path.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return path


def read_report(path: Path) -> Report:
    """Raises RecordsError where it is not one of this schema."""
    try:
        report = _REPORT.validate_json(path.read_bytes())
    except (OSError, ValidationError) as problem:
        raise RecordsError(f"{path} is not a report of a load run.") from problem
    if report.schema != SCHEMA:
        raise RecordsError(f"{path} is of the schema {report.schema}; this program reads {SCHEMA}.")
    return report
