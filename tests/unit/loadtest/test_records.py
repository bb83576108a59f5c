from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.records import (
    METRICS_FILE,
    REQUESTS_FILE,
    RUN_FILE,
    MetricSample,
    RecordsError,
    RequestRecord,
    RunInfo,
    read_run,
    write_run,
)
from tests.unit.loadtest.reporting.runs import write_lines

REQUEST = RequestRecord(
    number=3, planned_s=1.0, sent_s=1.5, first_byte_s=1.7, token_s=(2.0, 2.1), ended_s=2.2, status=200, code="",
    prompt_tokens=100, output_tokens=2, pictures=("p1",), tenant="shop", engine="a", image_cache="hit-gpu",
)  # fmt: skip
SAMPLE = MetricSample(at_s=1.0, source="http://127.0.0.1:1/metrics", values={'a_total{b="c"}': 1.0})
INFO = RunInfo(
    scenario="catalogue", scenario_text="name: catalogue\n", seed=7, url="http://127.0.0.1:1/v1", model="m",
    began_at="2026-01-01T00:00:00Z", counts_from_s=0.0, ended_s=10.0, slo_ttft_ms=500,
)  # fmt: skip


def write(folder: Path) -> None:
    write_lines(folder / REQUESTS_FILE, [REQUEST])
    write_lines(folder / METRICS_FILE, [SAMPLE])
    write_run(folder, INFO)


def test_a_run_that_was_written_is_read_as_it_was(tmp_path: Path) -> None:
    write(tmp_path)
    run = read_run(tmp_path)
    assert (run.info, run.requests, run.samples) == (INFO, (REQUEST,), (SAMPLE,))


def test_a_run_without_metrics_is_whole(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / METRICS_FILE).unlink()
    assert read_run(tmp_path).samples == ()


def test_latencies_count_from_the_planned_time_where_there_is_one() -> None:
    assert (REQUEST.ttft_s, round(REQUEST.e2e_s, 6)) == (1.0, 1.2)
    closed = replace(REQUEST, planned_s=None)
    assert (closed.ttft_s, round(closed.e2e_s, 6)) == (0.5, 0.7)


def test_no_token_is_no_time_to_the_first() -> None:
    assert replace(REQUEST, token_s=()).ttft_s is None


def test_a_folder_without_a_run_is_refused_by_the_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match=r"run\.json is not a load run's: No such file"):
        read_run(tmp_path)


def test_a_line_that_is_none_is_named_by_its_number(tmp_path: Path) -> None:
    write(tmp_path)
    with (tmp_path / REQUESTS_FILE).open("a") as file:
        file.write('{"number": 4}\n')
    with pytest.raises(RecordsError, match=r"requests\.jsonl, line 2: planned_s: Field required"):
        read_run(tmp_path)


def test_another_schema_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / RUN_FILE
    path.write_text(path.read_text().replace("records/1", "records/2"))
    with pytest.raises(RecordsError, match=r"of the schema fovea-loadtest-records/2; this program reads"):
        read_run(tmp_path)


def test_of_a_run_that_was_killed_what_was_written_down_is_read(tmp_path: Path) -> None:
    warm = replace(REQUEST, number=0, planned_s=0.1, warm_up=True)
    later = replace(REQUEST, number=4, planned_s=3.0, ended_s=4.5)
    write_lines(tmp_path / REQUESTS_FILE, [warm, later, REQUEST])
    whole = (tmp_path / REQUESTS_FILE).read_bytes()
    (tmp_path / REQUESTS_FILE).write_bytes(whole + whole[:40])
    write_run(tmp_path, replace(INFO, ended_s=0.0, unfinished=True))
    run = read_run(tmp_path)
    assert run.requests == (warm, later, REQUEST)
    assert (run.info.counts_from_s, run.info.ended_s) == (REQUEST.planned_s, 4.5)
    write_run(tmp_path, INFO)
    with pytest.raises(RecordsError, match="line 4"):
        read_run(tmp_path)
