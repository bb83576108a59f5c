import json
from pathlib import Path

from loadtest.gpu.notes import Notes, read_notes

ONE, OTHER = {"gpu": "one"}, {"gpu": "other"}


def test_a_step_goes_on_with_what_it_has_noted(tmp_path: Path) -> None:
    path = tmp_path / "figures" / "step.json"
    Notes(path, ONE).add("first", {"ms": [1.0]})
    again = Notes(path, ONE)
    assert again.has("first")
    assert not again.has("second")
    again.add("second", {"ms": [2.0]})
    assert read_notes(path)["records"] == {"first": {"ms": [1.0]}, "second": {"ms": [2.0]}}


def test_figures_of_another_machine_are_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "step.json"
    Notes(path, ONE).add("first", {})
    elsewhere = Notes(path, OTHER)
    assert not elsewhere.has("first")
    elsewhere.add("second", {})
    assert read_notes(path)["machine"] == OTHER
    assert list(read_notes(path)["records"]) == ["second"]


def test_a_step_is_done_once_it_has_ended_and_its_seconds_add_up(tmp_path: Path) -> None:
    path = tmp_path / "step.json"
    notes = Notes(path, ONE)
    assert not notes.done
    notes.end(2.0)
    Notes(path, ONE).end(0.5)
    assert Notes(path, ONE).done
    assert read_notes(path)["took_s"] == 2.5


def test_a_failure_is_noted_until_the_step_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "step.json"
    notes = Notes(path, ONE)
    notes.end(1.0)
    notes.fail("the disk is full")
    assert not notes.done
    assert read_notes(path)["failed"] == "the disk is full"
    notes.add("first", {})
    assert "failed" not in read_notes(path)


def test_a_killed_write_leaves_the_figures_of_before(tmp_path: Path) -> None:
    path = tmp_path / "step.json"
    Notes(path, ONE).add("first", {})
    path.with_suffix(".part").write_text("{half")
    assert Notes(path, ONE).has("first")
    assert json.loads(path.read_text())["machine"] == ONE
