"""The table of what `make bench` runs."""

from pathlib import Path

import pytest

from deploy.environments.environments import ENVIRONMENTS, PROGRAMS
from loadtest.suite.benchmarks import BENCHMARKS, Benchmark

ROOT = Path(__file__).parents[4]


def test_every_benchmark_that_there_is_is_in_the_table() -> None:
    modules = {path.stem for path in (ROOT / "loadtest").glob("bench_*.py")} - {"bench_all"}
    assert {each.module for each in BENCHMARKS.values()} == modules


@pytest.mark.parametrize("each", BENCHMARKS.values(), ids=BENCHMARKS.keys())
def test_a_benchmark_names_environments_that_can_be_set_up(each: Benchmark) -> None:
    assert set(each.environments) <= {*ENVIRONMENTS, *PROGRAMS}


@pytest.mark.parametrize("each", BENCHMARKS.values(), ids=BENCHMARKS.keys())
def test_a_benchmark_writes_the_page_that_the_table_says_and_takes_a_folder_for_it(each: Benchmark) -> None:
    source = (ROOT / "loadtest" / f"{each.module}.py").read_text()
    raw, page = each.outputs(Path("docs"))
    assert f'"{raw.name}"' in source
    assert f'"{page.name}"' in source
    assert '"--docs"' in source
