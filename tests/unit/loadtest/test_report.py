import pytest

from loadtest.drive import Outcome, percentile
from loadtest.report import as_table, summarize


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 50.0, 99.0, 100.0]
    assert percentile([7.0], 0.99) == 7.0
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_errors_are_counted_by_code_and_kept_out_of_latencies() -> None:
    outcomes = [Outcome(0.1, 1.0, 10, ""), Outcome(0.3, 3.0, 30, ""), Outcome(0, 99.0, 0, "overloaded")]
    summary = summarize(outcomes, took_s=4)
    assert summary["errors"] == {"overloaded": 1}
    assert (summary["answered"], summary["requests_per_s"], summary["tokens_per_s"]) == (2, 0.5, 10)
    assert summary["total_s"]["p99"] == 3.0
    assert "error overloaded 1" in as_table(summary)


def test_a_run_in_which_nothing_was_answered_still_reports() -> None:
    assert "first_token_s" not in summarize([Outcome(0, 1, 0, "502")], took_s=1)
