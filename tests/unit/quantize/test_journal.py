from pathlib import Path

import pytest

from quantize.errors import UsageError
from quantize.journal import Journal

RUN = {"model": "m", "seed": 1}


def write(path: Path, *entries: dict[str, int]) -> None:
    with Journal(path, RUN) as journal:
        for entry in entries:
            journal.add(entry)


def test_a_second_run_finds_what_the_first_one_did(tmp_path: Path) -> None:
    write(tmp_path / "j", {"a": 1}, {"b": 2})
    write(tmp_path / "j", {"c": 3})
    assert Journal(tmp_path / "j", RUN).entries == [{"a": 1}, {"b": 2}, {"c": 3}]


@pytest.mark.parametrize("lost", range(1, 9))
def test_a_torn_line_is_dropped_and_what_follows_is_whole(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "j"
    write(path, {"a": 1}, {"b": 2})
    path.write_bytes(path.read_bytes()[:-lost])
    write(path, {"c": 3})
    assert Journal(path, RUN).entries == [{"a": 1}, {"c": 3}]


def test_another_runs_journal_is_refused_and_says_what_differs(tmp_path: Path) -> None:
    write(tmp_path / "j")
    with pytest.raises(UsageError, match=r"another run \(seed differ\): choose another folder"):
        Journal(tmp_path / "j", {**RUN, "seed": 2})


@pytest.mark.parametrize("content", ["hello\n", "[]\n", '{"x": 1}\n'])
def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "j"
    path.write_text(content)
    with pytest.raises(UsageError, match="not a journal of ours"):
        Journal(path, RUN)
    assert path.read_text() == content


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    write(tmp_path / "j", {"a": 1}, {"b": 2})
    lines = (tmp_path / "j").read_text().splitlines()
    (tmp_path / "j").write_text("\n".join([lines[0], "{damaged", lines[2]]) + "\n")
    with pytest.raises(UsageError, match="j:2 is damaged"):
        Journal(tmp_path / "j", RUN)


def test_a_folder_that_cannot_be_made_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        Journal(tmp_path / "file" / "j", RUN)
