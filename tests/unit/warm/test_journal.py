from pathlib import Path

import pytest

from server.warm.journal import Journal, JournalError, journal_path

RUN = {"target": "http://e", "model": "m"}


def test_what_was_done_is_known_to_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "new" / "journal"
    with Journal(path, RUN) as first:
        assert first.done == {}
        first.add("a", "done")
        first.add("b", "invalid_image")
    with Journal(path, RUN) as second:
        assert second.done == {"a": "done", "b": "invalid_image"}
        second.add("c", "done")
    with Journal(path, RUN) as third:
        assert set(third.done) == {"a", "b", "c"}


def test_each_line_is_there_as_soon_as_it_is_written(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", RUN) as journal:
        journal.add("a", "done")
        with Journal(tmp_path / "j", RUN) as other:
            assert other.done == {"a": "done"}


@pytest.mark.parametrize("cut", range(1, 14))
def test_a_torn_line_is_dropped_and_the_next_is_whole(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "j"
    with Journal(path, RUN) as journal:
        journal.add("a", "done")
        journal.add("b", "done")
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(path, RUN) as journal:
        assert journal.done == {"a": "done"}
        journal.add("c", "done")
    with Journal(path, RUN) as journal:
        assert journal.done == {"a": "done", "c": "done"}


def test_another_runs_journal_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path, RUN) as journal:
        journal.add("a", "done")
    before = path.read_bytes()
    with pytest.raises(JournalError, match="of another run"):
        Journal(path, {**RUN, "model": "n"})
    assert path.read_bytes() == before


def test_a_file_that_is_no_journal_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_text('{"image": "a.png"}\n')
    with pytest.raises(JournalError, match="no journal of ours"):
        Journal(path, RUN)
    assert path.read_text() == '{"image": "a.png"}\n'


def test_a_damaged_line_is_told(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path, RUN):
        pass
    path.write_bytes(path.read_bytes() + b"nonsense\n")
    with pytest.raises(JournalError, match="damaged"):
        Journal(path, RUN)


def test_a_run_may_begin_afresh(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", RUN) as journal:
        journal.add("a", "done")
    with Journal(tmp_path / "j", {"target": "http://other"}, afresh=True) as journal:
        assert journal.done == {}


def test_where_it_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="cannot use the journal"):
        Journal(tmp_path, RUN)


def test_it_lies_beside_the_first_input_or_in_the_cache_folder(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    beside = journal_path([str(tmp_path / "pictures"), "https://e.com/a"], {})
    assert beside == tmp_path / "pictures.fovea-warm.jsonl"
    cache = {"XDG_CACHE_HOME": str(tmp_path)}
    first, second = (journal_path([url], cache) for url in ("https://e.com/a", "https://e.com/b"))
    assert first.parent == journal_path(["/"], cache).parent == tmp_path / "fovea" / "warm"
    assert first != second
