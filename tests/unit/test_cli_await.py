import re
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from demo.processes import Running
from server.cli import app
from tests.unit.engine.test_checkpoint_policy import GREEN, MADE, PROVED, RED, write


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Instead of sleeping."""
    found: list[float] = []
    monkeypatch.setattr(time, "sleep", found.append)
    return found


def test_what_may_be_served_is_said_at_once(tmp_path: Path, naps: list[float]) -> None:
    folder = write(tmp_path / "c", {"quantize": PROVED})
    told = CliRunner().invoke(app, ["await-checkpoint", str(folder), "--require", "verified"])
    assert told.exit_code == 0
    assert told.output.splitlines() == [
        f"fovea await-checkpoint: ready: {folder} is whole (0.00 GB), recipe fp8-dynamic, proved"
    ]
    assert naps == []


def test_what_may_not_is_an_error_at_once(tmp_path: Path, naps: list[float]) -> None:
    for report in ({"quantize": PROVED, "sight": RED}, {"quantize": MADE}):
        folder = write(tmp_path / "c", report)
        told = CliRunner().invoke(app, ["await-checkpoint", str(folder), "--require", "verified"])
        assert told.exit_code == 1
        assert re.fullmatch(r"fovea: [^\n]+\n", told.output)
    assert naps == [2.0, 2.0]  # to see that nobody is writing


def test_each_state_is_told_once_however_often_it_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, looks = tmp_path / "c", 0

    def look_later(_: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 5:
            write(folder, {"quantize": PROVED})
        if looks == 10:
            write(folder, {"quantize": PROVED, "sight": GREEN})

    monkeypatch.setattr(time, "sleep", look_later)
    told = CliRunner().invoke(app, ["await-checkpoint", str(folder), "--require", "gated"])
    assert told.exit_code == 0
    assert [line.split(": ")[1] for line in told.output.splitlines()] == ["waiting", "waiting", "ready"]
    assert looks == 10


def test_who_waits_no_longer_says_what_was_not_there(tmp_path: Path) -> None:
    arguments = ["await-checkpoint", str(tmp_path / "c"), "--require", "none", "--timeout", "0"]
    told = CliRunner().invoke(app, arguments)
    assert told.exit_code == 3
    assert told.output.splitlines()[-1] == f"fovea: waited long enough: {tmp_path / 'c'} is not there yet"


def test_an_unknown_policy_is_a_usage_error(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["await-checkpoint", str(tmp_path), "--require", "green"]).exit_code == 2
    assert CliRunner().invoke(app, ["await-checkpoint", str(tmp_path)]).exit_code == 2


def test_told_to_stop_it_stops(tmp_path: Path) -> None:
    waiting = Running("server", "await-checkpoint", str(tmp_path / "c"), "--require", "none")
    waiting.wait_for("waiting: .* is not there yet", 60)
    assert waiting.stop() == 143


@pytest.mark.parametrize(
    ("report", "says"),
    [({"quantize": PROVED, "sight": RED}, "has failed the sight gate"), (None, "has no fovea-report.json yet")],
)
def test_an_engine_is_not_started_with_what_its_report_does_not_allow(
    tmp_path: Path, report: object, says: str, naps: list[float]
) -> None:
    folder = write(tmp_path / "c", report)
    told = CliRunner().invoke(app, ["engine", "--model", str(folder), "--port", "0", "--require-report", "gated"])
    assert told.exit_code == 2
    assert re.fullmatch(rf"fovea: [^\n]*{says}[^\n]*\.\n", told.output)


def test_a_hubs_model_has_no_report_to_look_at() -> None:
    told = CliRunner().invoke(app, ["engine", "--model", "Org/Name", "--port", "0", "--require-report", "none"])
    assert told.exit_code == 2
    assert "Org/Name is no folder, whose report could be read: fetch it with fovea-quantize pull." in told.output
