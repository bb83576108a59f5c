import time
from pathlib import Path

import pytest

from loadtest.gpu.__main__ import write_page
from loadtest.gpu.notes import Notes, read_notes
from loadtest.gpu.steps import STEPS, Runner

MACHINE = {"gpu": "one"}
LATE = -1.0  # the time is up: whatever is begun is left


def runner(folder: Path, said: list[str], left_s: float = LATE) -> Runner:
    return Runner(folder, folder / "build", (), MACHINE, time.monotonic() + left_s, said.append)


def end(folder: Path, *names: str) -> None:
    for name in names:
        Notes(folder / f"{name}.json", MACHINE).end(1.0)


def test_steps_that_are_done_are_not_run_again(tmp_path: Path) -> None:
    end(tmp_path, *STEPS)
    said: list[str] = []
    assert runner(tmp_path, said).run(list(STEPS)) == []
    assert said == [f"{name}: done already" for name in STEPS]


def test_steps_for_which_no_time_is_left_are_named_and_left(tmp_path: Path) -> None:
    end(tmp_path, "ceilings", "vision")
    assert runner(tmp_path, []).run(["ceilings", "by_shape", "vision"]) == ["by_shape"]
    assert not (tmp_path / "by_shape.json").exists()


@pytest.mark.parametrize("reader", ["weights", "forward", "served"])
def test_checkpoints_are_made_again_for_a_step_that_has_still_to_read_them(tmp_path: Path, reader: str) -> None:
    end(tmp_path, *(name for name in STEPS if name != reader))
    assert runner(tmp_path, []).run(list(STEPS)) == ["checkpoint", reader]


def test_a_step_that_ends_badly_is_noted_and_the_next_is_run(tmp_path: Path) -> None:
    said: list[str] = []
    wrong = Runner(
        tmp_path, tmp_path / "build", ("--no-such-option",), MACHINE, time.monotonic() + 500, said.append
    )
    assert wrong.run(["ceilings", "vision"]) == ["ceilings", "vision"]
    for name in ("ceilings", "vision"):
        notes = read_notes(tmp_path / f"{name}.json")
        assert notes["failed"]
        assert not notes["done"]


def test_the_page_is_not_made_of_a_dry_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, docs = tmp_path / "out", tmp_path / "docs"
    Notes(out / "ceilings.json", {"versions": {}}).end(1.0)
    assert write_page(out, docs) == 1
    assert "no figures of a GPU" in capsys.readouterr().out
    assert not docs.exists()
