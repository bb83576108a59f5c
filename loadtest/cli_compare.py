"""`fovea-loadtest report`, `assert` and `compare`: what is done with runs that are over."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import orjson
import typer

from loadtest.records import RecordsError, read_run
from loadtest.reporting.assertions import Assertion, AssertionTextError, parse_assertion
from loadtest.reporting.comparison import compare, read_side
from loadtest.reporting.publishing import BROKEN, DONE, hold, publish
from loadtest.reporting.report import REPORT_FILE, read_report
from loadtest.reporting.table import make_comparison_table

COMPARISON_SCHEMA = "fovea-loadtest-comparison/1"
USAGE = 2  # exit code


def add_commands(app: typer.Typer) -> None:
    app.command("report")(report_command)
    app.command("assert")(assert_command)
    app.command("compare")(compare_command)


def report_command(folder: Annotated[Path, typer.Argument(help="A run's folder.")]) -> None:
    """Makes a run's report.json and report.html again from its records, and prints the table."""
    try:
        code = publish(folder, read_run(folder), (), typer.echo)
    except (RecordsError, OSError) as problem:
        refuse(str(problem))
    sys.exit(code)


def assert_command(
    folder: Annotated[Path, typer.Argument(help="A run's folder, or its report.json.")],
    assertions: Annotated[list[str], typer.Argument(help="Such as 'ttft_p95_ms<500' or 'error_share<=1%'.")],
) -> None:
    """Holds a run to what it promised. Exit codes: 0 all hold, 1 one does not, 2 usage."""
    read = read_assertions(assertions)
    try:
        report = read_report(folder / REPORT_FILE if folder.is_dir() else folder)
    except RecordsError as problem:
        refuse(str(problem))
    sys.exit(hold(report, read, say_error))


def compare_command(
    a: Annotated[Path, typer.Argument(help="A run's folder, or a folder of runs.")],
    b: Annotated[Path, typer.Argument(help="The other.")],
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the comparison here as well.")] = None,
    fail_if_worse: Annotated[bool, typer.Option(help="Exit 1 where B is worse by more than chance.")] = False,
) -> None:
    """Which figures of B differ from A's, by how much, and whether by more than chance.

    With the same scenario and seeds, requests are compared in pairs. Several runs a side, in turn and with seeds of
    their own, say most. Exit codes: 0, 1 with --fail-if-worse, 2 usage.
    """
    try:
        comparison = compare(read_side(a), read_side(b), (str(a), str(b)))
        if json_out:
            held = {"schema": COMPARISON_SCHEMA, "comparison": comparison}
            json_out.write_bytes(orjson.dumps(held, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    except (RecordsError, OSError) as problem:
        refuse(str(problem))
    typer.echo(make_comparison_table(comparison))
    worse = any(row.verdict == "worse" for row in comparison.rows)
    sys.exit(BROKEN if fail_if_worse and worse else DONE)


def read_assertions(texts: list[str]) -> tuple[Assertion, ...]:
    """Exits 2 where one cannot be read: before anything is sent."""
    try:
        return tuple(parse_assertion(text) for text in texts)
    except AssertionTextError as problem:
        refuse(str(problem))


def refuse(sentence: str) -> NoReturn:
    say_error(f"fovea-loadtest: {sentence}")
    sys.exit(USAGE)


def say_error(sentence: str) -> None:
    typer.echo(sentence, err=True)
