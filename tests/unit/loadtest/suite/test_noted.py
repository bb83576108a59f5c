"""What is not run again by --resume."""

from pathlib import Path

from loadtest.suite.benchmarks import Benchmark, Phase
from loadtest.suite.noted import Runs, Took, digest_of, read_runs, still_to_run, write_runs

METRICS = Benchmark("metrics", "bench_metrics", "metrics", "?", Phase.BESIDE, 2)


def written(docs: Path) -> Runs:
    (docs / "metrics.json").write_text("{}")
    (docs / "metrics.md").write_text("# Page")
    return Runs(took={"metrics": Took(20, "abc", digest_of(docs / "metrics.json"))})


def test_what_this_commit_wrote_is_not_run_again(tmp_path: Path) -> None:
    assert still_to_run([METRICS], written(tmp_path), "abc", tmp_path) == []


def test_what_another_commit_wrote_is(tmp_path: Path) -> None:
    assert still_to_run([METRICS], written(tmp_path), "abd", tmp_path) == [METRICS]
    unknown = Runs(took={"metrics": Took(20, "unknown", digest_of(tmp_path / "metrics.json"))})
    assert still_to_run([METRICS], unknown, "unknown", tmp_path) == [METRICS]


def test_what_was_written_by_somebody_else_since_is(tmp_path: Path) -> None:
    runs = written(tmp_path)
    (tmp_path / "metrics.json").write_text('{"other": 1}')
    assert still_to_run([METRICS], runs, "abc", tmp_path) == [METRICS]


def test_notes_are_read_as_they_were_written(tmp_path: Path) -> None:
    runs = Runs("2026-11-23", "here", 3000, {"metrics": Took(20, "abc", "d")})
    write_runs(tmp_path / "new" / "run.json", runs)
    assert read_runs(tmp_path / "new" / "run.json") == runs
    assert read_runs(tmp_path / "none.json") == Runs()
