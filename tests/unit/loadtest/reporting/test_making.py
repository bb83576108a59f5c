from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.records import MOST_TOKEN_TIMES, RecordsError, Run
from loadtest.reporting.latencies import itl_ms, latency_of, stall_ms
from loadtest.reporting.making import make_report
from loadtest.reporting.report import read_report, write_report
from tests.unit.loadtest.reporting.runs import failed, make_run, never_sent, request


def test_rates_count_what_was_answered_over_the_counted_time() -> None:
    rates = make_report(make_run()).rates
    assert rates.requests_per_s.value == pytest.approx(4.0)
    assert rates.pictures_per_s.value == pytest.approx(4.0)
    assert rates.prompt_tokens_per_s.value == pytest.approx(400.0)
    assert rates.output_tokens_per_s.value == pytest.approx(20.0)


def test_the_warm_up_is_left_out() -> None:
    run = make_run(100)
    early = (replace(request(900, 20.0, ttft_s=9.0), warm_up=True), request(901, 5.0, ttft_s=9.0))
    report = make_report(replace(run, requests=(*early, *run.requests)))
    assert (report.requests, report.warm_up) == (100, 2)
    assert report.ttft_ms is not None
    assert report.ttft_ms.most < 1000


def test_failures_are_counted_by_code_and_have_no_latency() -> None:
    run = make_run(100)
    bad = (failed(100, 50.0), failed(101, 51.0), failed(102, 52.0, "timeout"))
    report = make_report(replace(run, requests=run.requests + bad))
    assert (report.requests, report.answered) == (103, 100)
    assert report.errors == {"overloaded": 2, "timeout": 1}
    assert report.e2e_ms is not None
    assert report.e2e_ms.count == 100


def test_what_was_never_sent_is_lost_but_was_not_late() -> None:
    run = make_run(100)
    report = make_report(replace(run, requests=(*run.requests, failed(100, 50.0), never_sent(101, 60.0))))
    assert (report.requests, report.answered, report.errors) == (102, 100, {"overloaded": 1, "not_sent": 1})
    assert report.lag_ms is not None
    assert (report.lag_ms.count, report.lag_ms.most) == (101, 0)
    assert report.goodput is not None
    assert report.goodput.missed["failed"] == 2


def test_time_in_which_nothing_was_sent_is_told_whatever_was_lost_in_it() -> None:
    run = make_run(100, ended_s=200.0)
    report = make_report(replace(run, requests=(*run.requests, never_sent(100, 190.0))))
    assert any(warning.startswith("For the last 91.0 s nothing was sent") for warning in report.warnings)


def test_goodput_is_what_met_every_limit() -> None:
    run = make_run(4)
    mixed = (
        request(0, 10.0), request(1, 20.0, ttft_s=0.9), request(2, 30.0, ttft_s=0.9, gaps=(2.0,)), failed(3, 40.0),
    )  # fmt: skip
    goodput = make_report(replace(run, requests=mixed)).goodput
    assert goodput is not None
    assert (goodput.within, goodput.share.value, goodput.per_s) == (1, 0.25, 0.01)
    assert goodput.missed == {"ttft_ms": 2, "e2e_ms": 1, "failed": 1}


def test_an_answer_without_a_word_misses_the_first_words_limit_by_its_end() -> None:
    run = make_run(1)
    empty = replace(request(0, 10.0), token_s=(), ended_s=11.0, output_tokens=0)
    goodput = make_report(replace(run, requests=(empty,))).goodput
    assert goodput is not None
    assert goodput.missed == {"ttft_ms": 1}


def test_a_run_without_an_slo_has_no_goodput() -> None:
    assert make_report(make_run(100, slo_ttft_ms=None, slo_e2e_ms=None)).goodput is None


def test_a_run_in_which_nothing_was_answered_has_a_report_that_says_so() -> None:
    run = make_run(1)
    report = make_report(replace(run, requests=(failed(0, 10.0),), samples=()))
    assert (report.ttft_ms, report.e2e_ms) == (None, None)
    assert "Nothing was answered." in report.warnings
    assert any(warning.startswith("No /metrics page") for warning in report.warnings)


def test_a_driver_that_could_not_keep_up_is_told_on() -> None:
    run = make_run(100)
    late = tuple(replace(one, sent_s=one.due_s + 0.1) for one in run.requests)
    warnings = make_report(replace(run, requests=late)).warnings
    assert any("100.0 ms late" in warning for warning in warnings)
    assert not any("late" in warning for warning in make_report(run).warnings)


def test_percentiles_that_would_be_the_maximum_are_unknown() -> None:
    found = latency_of([1.0] * 99)
    assert found is not None
    assert found.p95 is not None
    assert found.p99 is None
    assert latency_of([None, None]) is None


def test_time_between_tokens_goes_by_the_servers_count_where_chunks_hold_several() -> None:
    one = request(0, 0.0, gaps=(0.1, 0.3))
    assert itl_ms(one) == pytest.approx(200.0)
    assert itl_ms(replace(one, output_tokens=5)) == pytest.approx(100.0)
    assert stall_ms(one) == pytest.approx(300.0)
    assert (itl_ms(replace(one, token_s=(1.0,))), stall_ms(replace(one, token_s=()))) == (None, None)


def test_an_answer_whose_later_chunks_were_not_kept_counts_by_those_that_were() -> None:
    kept = tuple(0.01 * number for number in range(MOST_TOKEN_TIMES))
    assert itl_ms(replace(request(0, 0.0), token_s=kept, output_tokens=10**6)) == pytest.approx(10.0)


def test_tenants_are_told_apart() -> None:
    report = make_report(make_run(400))
    assert [(one.name, one.requests, one.answered) for one in report.tenants] == [
        ("lab", 100, 100),
        ("shop", 300, 300),
    ]
    assert report.engines == {"a": 200, "b": 200}


def test_a_report_that_was_written_is_read_as_it_was(tmp_path: Path) -> None:
    report = make_report(make_run(100))
    assert read_report(write_report(tmp_path, report)) == report


def test_a_report_of_another_schema_is_refused(tmp_path: Path) -> None:
    path = write_report(tmp_path, make_report(make_run(10)))
    path.write_text(path.read_text().replace("fovea-loadtest-report/1", "fovea-loadtest-report/9"))
    with pytest.raises(RecordsError, match="of the schema fovea-loadtest-report/9"):
        read_report(path)


def warned(run: Run, of: str) -> bool:
    return any(of in warning for warning in make_report(run).warnings)


def test_latencies_of_those_that_did_not_fail_are_told_to_be_that() -> None:
    run = make_run(200)
    assert not warned(run, "requests failed")
    assert not warned(replace(run, requests=(*run.requests, failed(200, 50.0))), "requests failed")
    bad = tuple(failed(200 + number, 50.0) for number in range(5))
    assert warned(replace(run, requests=run.requests + bad), "5 of 205 requests failed")


def test_rates_over_a_time_in_which_nothing_was_sent_are_told_to_be_low() -> None:
    run = make_run(200)
    assert not warned(run, "nothing was sent")
    assert warned(replace(run, info=replace(run.info, ended_s=410.0)), "For the last 300.5 s nothing was sent")


def test_delays_that_grow_all_along_are_told_to_be_no_sample() -> None:
    run = make_run(200)
    assert not warned(run, "Neighbours' delays")
    growing = tuple(replace(one, ended_s=one.ended_s + one.number) for one in run.requests)
    assert warned(replace(run, requests=growing), "Neighbours' delays")


def test_codes_that_a_server_makes_up_do_not_fill_the_report() -> None:
    run = make_run(100)
    bad = tuple(failed(100 + number, 50.0, f"code-{number}") for number in range(300))
    errors = make_report(replace(run, requests=run.requests + bad)).errors
    assert len(errors) == 51
    assert errors["others"] == 250
