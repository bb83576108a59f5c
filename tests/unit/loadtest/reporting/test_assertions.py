import re
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.reporting.assertions import AssertionTextError, failure_of, parse_assertion
from loadtest.reporting.figures import NAMES, OF_TENANT, SHARES, figure_of
from loadtest.reporting.making import make_report
from tests.unit.loadtest.reporting.runs import failed, make_run, samples

RUN = make_run()
REPORT = make_report(replace(RUN, requests=(*RUN.requests, failed(400, 50.0), failed(401, 51.0))))


@pytest.mark.parametrize(
    "text",
    [
        "ttft_p95_ms<500", "ttft_p95_ms < 5e2", "errors==2", "errors.overloaded<=2", "errors.timeout==0",
        "error_share<1%", "cache_hit_share>=75%", "cache.hit-gpu>0.7", "requests_per_s>3.9", "goodput_share>95%",
        "tenant.lab.answered_share>=99%", "tenant.shop.ttft_p95_ms<400", "kv_cache_peak_share<=0.55",
        "stall_max_ms<51", "answered!=0",
    ],
)  # fmt: skip
def test_what_holds_is_silent(text: str) -> None:
    assert failure_of(REPORT, parse_assertion(text)) is None


def test_what_does_not_hold_is_told_with_the_value_and_its_interval() -> None:
    told = failure_of(REPORT, parse_assertion("ttft_p95_ms<100"))
    assert told is not None
    assert told.startswith("ttft_p95_ms<100 does not hold: ttft_p95_ms is 30")
    assert "(95 %: " in told
    assert failure_of(REPORT, parse_assertion("errors<1")) == "errors<1 does not hold: errors is 2."


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("gpu_memory_peak_bytes<9e9", "no server told of GPU memory in use"),
        ("preemptions==0", "no engine's metrics told of them"),
        ("tenant.ghost.ttft_p50_ms<9", "no tenant ghost sent a request that counts"),
    ],
)
def test_what_is_unknown_does_not_hold(text: str, why: str) -> None:
    told = failure_of(REPORT, parse_assertion(text))
    assert told is not None
    assert told.endswith(f"is unknown, {why}.")


def test_a_percentile_of_too_few_requests_does_not_hold() -> None:
    few = make_report(make_run(50))
    told = failure_of(few, parse_assertion("ttft_p99_ms<9999"))
    assert told is not None
    assert told.endswith("ttft_p99_ms is unknown, it takes 100 requests that have one, and there are 50.")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ttft_p95<500", "ttft_p95 is no figure of a report. Did you mean ttft_p95_ms"),
        ("ttft_p95_ms", "is not FIGURE, one of"),
        ("ttft_p95_ms<fast", "is not FIGURE, one of"),
        ("ttft_p95_ms<1.2.3", "1.2.3 is not a number"),
        ("xyzzy<1", "Figures are ttft_mean_ms, "),
        ("tenant.a.unknown<1", "is no figure of a report"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(text: str, told: str) -> None:
    with pytest.raises(AssertionTextError, match=f"(?s).*{told}"):
        parse_assertion(text)


def test_every_figure_that_may_be_asked_for_is_there_or_says_why_not() -> None:
    for report in (REPORT, make_report(replace(make_run(1), requests=(), samples=()))):
        assert all(figure_of(report, name) is not None for name in NAMES)
    assert samples()


def test_the_guide_names_every_figure() -> None:
    guide = (Path(__file__).parents[4] / "docs" / "load-reports.md").read_text()
    told = set(re.findall(r"`([\w.*-]+)`", guide))
    shapes = {re.sub(r"(?<=_)(mean|p\d\d|max)(?=_ms$)", "*", name) for name in NAMES}
    assert shapes - told == set()
    assert {"mean", "max", *SHARES} - told == set()
    assert {"errors.CODE", "cache.OUTCOME", "tenant.NAME.FIGURE", *OF_TENANT} - told == set()
