"""The end of a run: its report as JSON, page and table, and what it was held to."""

from collections.abc import Callable, Sequence
from pathlib import Path

from loadtest.records import Run
from loadtest.reporting.assertions import Assertion, failure_of
from loadtest.reporting.making import make_report
from loadtest.reporting.page import make_page
from loadtest.reporting.report import PAGE_FILE, Report, write_report
from loadtest.reporting.table import make_table

DONE, BROKEN = 0, 1  # exit codes


def publish(folder: Path, run: Run, assertions: Sequence[Assertion], say: Callable[[str], None]) -> int:
    """Writes `report.json` and `report.html` beside the run's records and says the table. The exit code: 1 where
    an assertion does not hold. Raises OSError where the folder cannot be written."""
    report = make_report(run)
    written = write_report(folder, report)
    page = folder / PAGE_FILE
    page.write_text(make_page(report), encoding="utf-8")
    say(f"{make_table(report)}\n\n{written}\n{page}")
    return hold(report, assertions, say)


def hold(report: Report, assertions: Sequence[Assertion], say: Callable[[str], None]) -> int:
    """Says each assertion that does not hold, in a sentence."""
    failures = [failure for one in assertions if (failure := failure_of(report, one))]
    for failure in failures:
        say(failure)
    return BROKEN if failures else DONE
