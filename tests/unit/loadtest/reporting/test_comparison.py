from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.records import REQUESTS_FILE, RecordsError, Run, write_run
from loadtest.reporting.comparison import Comparison, are_pairs, compare, read_side
from loadtest.reporting.table import make_comparison_table
from tests.unit.loadtest.reporting.runs import failed, make_run, write_lines

NAMES = ("before", "after")


def verdicts(comparison: Comparison) -> dict[str, str]:
    return {row.figure: row.verdict for row in comparison.rows}


def test_a_slower_side_is_worse_and_a_quicker_one_better() -> None:
    quick, slow = [make_run()], [make_run(slower=1.3, draw=2)]
    assert verdicts(compare(quick, slow, NAMES))["ttft_geomean"] == "worse"
    assert verdicts(compare(slow, quick, NAMES))["ttft_geomean"] == "better"


def test_two_runs_of_the_same_thing_do_not_differ() -> None:
    found = compare([make_run()], [make_run(draw=2)], NAMES)
    assert set(verdicts(found).values()) == {"no difference shown"}


def test_failures_show_in_the_share_that_was_answered() -> None:
    run = make_run()
    half = tuple(failed(one.number, one.due_s) if one.number % 2 else one for one in run.requests)
    found = verdicts(compare([run], [replace(run, requests=half)], NAMES))
    assert (found["answered_share"], found["goodput_share"], found["requests_per_s"]) == ("worse",) * 3
    assert found["ttft_geomean"] == "no difference shown"


def test_the_same_scenario_and_seeds_are_compared_in_pairs() -> None:
    run = make_run()
    assert are_pairs([run], [make_run(draw=2)])
    assert not are_pairs([run], [make_run(seed=8)])
    assert not are_pairs([run], [make_run(scenario_text="name: other\n")])
    assert not are_pairs([run, run], [run, run])
    assert not are_pairs([run], [run, make_run(seed=8)])


def test_requests_that_only_one_side_sent_do_not_count_in_pairs() -> None:
    run = make_run(400)
    longer = replace(run, requests=run.requests[:350])
    found = compare([run], [longer], NAMES)
    assert found.paired
    ttft = next(row for row in found.rows if row.figure == "ttft_geomean")
    assert ttft.change.a == pytest.approx(ttft.change.b)


def test_what_makes_a_comparison_weak_is_said() -> None:
    other = make_run(seed=8, machine={"cores": "64"})
    told = " ".join(compare([make_run()], [other], NAMES).warnings)
    assert "nothing is compared in pairs" in told
    assert "different machines" in told
    assert "One run a side" in told
    assert "different scenarios" not in told
    changed = make_run(scenario_text="name: other\n")
    assert "different scenarios" in " ".join(compare([make_run()], [changed], NAMES).warnings)


def test_the_table_tells_the_test_and_each_verdict() -> None:
    table = make_comparison_table(compare([make_run()], [make_run(slower=1.3, draw=2)], NAMES))
    assert "permutation of blocks of neighbours, requests in pairs; adjusted for 10 figures (Holm)" in table
    assert "worse" in table
    assert "-0.0 " not in table


def write(folder: Path, run: Run) -> None:
    folder.mkdir(parents=True)
    write_lines(folder / REQUESTS_FILE, run.requests)
    write_run(folder, run.info)


def test_a_side_is_a_run_or_a_folder_of_runs(tmp_path: Path) -> None:
    write(tmp_path / "a" / "1", make_run(10, seed=1))
    write(tmp_path / "a" / "2", make_run(10, seed=2))
    assert [run.info.seed for run in read_side(tmp_path / "a")] == [1, 2]
    assert [run.info.seed for run in read_side(tmp_path / "a" / "2")] == [2]
    with pytest.raises(RecordsError, match=r"holds no run\.json, nor does any folder in it"):
        read_side(tmp_path / "nothing")


@pytest.mark.parametrize("answered", [0, 2])
def test_where_little_was_answered_rates_are_left_out_and_named(answered: int) -> None:
    run = make_run()
    few = tuple(one if one.number < answered else failed(one.number, one.due_s) for one in run.requests)
    for sides in (([replace(run, requests=few)], [run]), ([run], [replace(run, requests=few)])):
        found = compare(*sides, NAMES)
        assert verdicts(found)["answered_share"] in ("better", "worse")
    few_first = compare([replace(run, requests=few)], [run], NAMES)
    assert not {"requests_per_s", "output_tokens_per_s"} & verdicts(few_first).keys()
    assert "to compare requests_per_s and output_tokens_per_s" in " ".join(few_first.warnings)
