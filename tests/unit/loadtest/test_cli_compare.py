import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from loadtest.cli_compare import add_commands, read_assertions
from loadtest.records import METRICS_FILE, REQUESTS_FILE, read_run, write_run
from loadtest.reporting.publishing import publish
from loadtest.reporting.report import REPORT_FILE
from tests.unit.loadtest.reporting.runs import make_run, write_lines


def call(*arguments: object) -> Result:
    app = typer.Typer()
    add_commands(app)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """A quick and a slow one."""
    for name, slower in (("quick", 1.0), ("slow", 1.5)):
        run, folder = make_run(200, slower=slower), tmp_path / name
        folder.mkdir()
        write_lines(folder / REQUESTS_FILE, run.requests)
        write_lines(folder / METRICS_FILE, run.samples)
        write_run(folder, run.info)
    return tmp_path / "quick", tmp_path / "slow"


def test_report_writes_page_and_json_beside_the_records(runs: tuple[Path, Path]) -> None:
    result = call("report", runs[0])
    assert result.exit_code == 0
    assert "TTFT, ms" in result.output
    assert (runs[0] / "report.html").read_text().startswith("<!doctype html>")
    assert json.loads((runs[0] / REPORT_FILE).read_text())["schema"] == "fovea-loadtest-report/1"


def test_assert_says_in_a_sentence_what_does_not_hold_and_exits_1(runs: tuple[Path, Path]) -> None:
    call("report", runs[0])
    assert call("assert", runs[0], "ttft_p95_ms<500", "errors==0").exit_code == 0
    result = call("assert", runs[0] / REPORT_FILE, "ttft_p95_ms<1", "errors==0")
    assert result.exit_code == 1
    assert result.output.startswith("ttft_p95_ms<1 does not hold: ttft_p95_ms is ")
    assert result.output.count("\n") == 1


def test_what_cannot_be_read_exits_2(runs: tuple[Path, Path], tmp_path: Path) -> None:
    for arguments in (
        ("assert", runs[0], "ttft<1"), ("assert", tmp_path / "nothing", "errors==0"),
        ("report", tmp_path / "nothing"), ("compare", runs[0], tmp_path / "nothing"),
    ):  # fmt: skip
        result = call(*arguments)
        assert result.exit_code == 2, result.output
        assert result.output.startswith("fovea-loadtest: ")
        assert "Traceback" not in result.output


def test_compare_fails_only_where_it_is_asked_to(runs: tuple[Path, Path], tmp_path: Path) -> None:
    quick, slow = runs
    assert call("compare", quick, slow).exit_code == 0
    assert call("compare", quick, slow, "--fail-if-worse").exit_code == 1
    assert call("compare", slow, quick, "--fail-if-worse").exit_code == 0
    assert call("compare", quick, quick, "--fail-if-worse").exit_code == 0
    assert call("compare", quick, slow, "--json", tmp_path / "c.json").exit_code == 0
    written = json.loads((tmp_path / "c.json").read_text())
    assert written["schema"] == "fovea-loadtest-comparison/1"
    assert written["comparison"]["rows"][0]["change"]["change"] == pytest.approx(0.5)


def test_publishing_ends_in_the_exit_code_of_what_was_promised(runs: tuple[Path, Path]) -> None:
    said: list[str] = []
    run = read_run(runs[0])
    assert publish(runs[0], run, read_assertions(["errors==0"]), said.append) == 0
    assert publish(runs[0], run, read_assertions(["errors>0"]), said.append) == 1
    assert said[-1] == "errors>0 does not hold: errors is 0."


def test_an_assertion_that_cannot_be_read_stops_before_anything_is_sent(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read_assertions(["ttft_p95_ms<500", "nonsense"])
    assert ended.value.code == 2
    assert "nonsense" in capsys.readouterr().err
