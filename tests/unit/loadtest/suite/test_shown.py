"""What is shown of a run."""

from pathlib import Path

from loadtest.suite.plan import Job
from loadtest.suite.running import Board, Outcome
from loadtest.suite.shown import clock, line_of, summary, told, told_of

SOAK = Job("soak", ("true",), (0,), 31)
CACHE = Job("cache", ("true",), (0, 1), 11)
BROKEN = Outcome(CACHE, 75, "exit status 1", Path("build/bench/logs/cache.log"))


def test_what_runs_is_shown_with_how_long_and_what_is_expected() -> None:
    board = Board(Path(), lambda _: None, {"soak": (SOAK, 100.0)}, [])
    assert line_of(board, 40.0, 42, 190.0) == "2:30 of about 42:00  soak 1:30/31:00"


def test_what_failed_is_named_last_with_its_log() -> None:
    lines = summary([Outcome(SOAK, 1860, "", Path("soak.log")), BROKEN], 2000).splitlines()
    assert lines[0].split() == ["soak", "31:00"]
    assert lines[2].split() == ["in", "all", "33:20"]
    assert lines[-1] == "FAILED: cache: exit status 1: build/bench/logs/cache.log"
    assert told(BROKEN) == "cache: FAILED: exit status 1: build/bench/logs/cache.log (1:15)"


def test_what_a_failed_one_said_last_is_told_at_once(tmp_path: Path) -> None:
    log = tmp_path / "cache.log"
    log.write_text("Traceback\n" * 1000 + "RuntimeError: no Valkey\n\n")
    assert told(Outcome(CACHE, 75, "exit status 1", log)).endswith("(1:15)\n  RuntimeError: no Valkey")
    assert told(Outcome(CACHE, 75, "", log)) == "cache: done (1:15)"


def test_one_core_is_said() -> None:
    assert "one core" in told_of([((SOAK, SOAK),)], 1)
    assert "one core" not in told_of([((SOAK,),)], 2)
    assert clock(59.9) == "0:59"
