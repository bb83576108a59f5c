"""What runs beside what, and where."""

from pathlib import Path

from loadtest.suite.benchmarks import Benchmark, Phase
from loadtest.suite.plan import Stage, expected_minutes, make_plan

SOAK = Benchmark("soak", "bench_soak", "soak", "?", Phase.LONG, 30, ("engine",))
QUANTIZE = Benchmark("quantize", "bench_quantize", "quantize", "?", Phase.BESIDE, 8, ("quantize",))
METRICS = Benchmark("metrics", "bench_metrics", "metrics", "?", Phase.BESIDE, 2)
CACHE = Benchmark("cache", "bench_embedding_cache", "embedding-cache", "?", Phase.ALONE, 11, ("engine", "valkey"))
ALL = [SOAK, QUANTIZE, METRICS, CACHE]


def shape(stages: list[Stage]) -> list[list[list[str]]]:
    return [[[job.name for job in lane] for lane in stage] for stage in stages]


def test_beside_the_soak_runs_what_counts_cpu_and_alone_what_counts_time() -> None:
    stages = make_plan(ALL, [0, 1], Path("docs"))
    assert shape(stages) == [[["set-up"]], [["soak"], ["set-up-rest", "metrics", "quantize"]], [["cache"]]]
    soak, beside = stages[1]
    assert soak[0].cores == (0,)
    assert {job.cores for job in beside} == {(1,)}
    assert stages[2][0][0].cores == (0, 1)


def test_only_what_the_soak_needs_is_set_up_before_it() -> None:
    stages = make_plan(ALL, [0, 1], Path("docs"))
    assert stages[0][0][0].command[2:] == ("engine",)
    assert stages[1][1][0].command[2:] == ("quantize", "valkey")


def test_more_cores_are_halved() -> None:
    soak, beside = make_plan(ALL, range(8), Path("docs"))[1]
    assert soak[0].cores == (0, 1, 2, 3)
    assert beside[0].cores == (4, 5, 6, 7)


def test_on_one_core_everything_takes_turns() -> None:
    stages = make_plan(ALL, [3], Path("docs"))
    assert shape(stages) == [[["set-up", "soak", "metrics", "quantize", "cache"]]]
    assert stages[0][0][0].command[2:] == ("engine", "quantize", "valkey")


def test_without_the_soak_its_neighbours_keep_to_their_half() -> None:
    stages = make_plan([QUANTIZE], [0, 1], Path("docs"))
    assert shape(stages) == [[["set-up"]], [["quantize"]]]
    assert stages[1][0][0].cores == (1,)


def test_a_benchmark_is_told_where_its_page_goes() -> None:
    assert make_plan([METRICS], [0, 1], Path("else"))[0][0][0].command[1:] == (
        "-m", "loadtest.bench_metrics", "--docs", "else",
    )  # fmt: skip


def test_lanes_side_by_side_take_as_long_as_the_longer() -> None:
    assert expected_minutes(make_plan(ALL, [0, 1], Path())) == 4 + 30 + 11
    assert expected_minutes([]) == 0
