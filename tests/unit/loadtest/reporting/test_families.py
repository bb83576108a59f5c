from pathlib import Path

from loadtest.reporting.families import COUNTERS, GAUGES, MOST_SERIES, read_page, split_series

PAGE = """# HELP fovea_affinity_total Requests with pictures
# TYPE fovea_affinity_total counter
fovea_affinity_total{outcome="home"} 12.0
fovea_affinity_total{outcome="spilled"} 1e1
fovea_requests_in_flight 3.0
fovea_time_to_first_token_seconds_bucket{le="0.1"} 4.0
vllm:kv_cache_usage_perc{engine="0",model_name="a\\"b}c"} 0.25 1712345678
fovea_bytes_in_flight nonsense
fovea_gpu_utilization_ratio{gpu="0"} NaN
fovea_gpu_memory_used_bytes{gpu="0"} +Inf
"""


def test_a_page_is_read_by_the_names_that_reports_need_and_no_others() -> None:
    assert read_page(PAGE) == {
        'fovea_affinity_total{outcome="home"}': 12.0,
        'fovea_affinity_total{outcome="spilled"}': 10.0,
        "fovea_requests_in_flight": 3.0,
        'vllm:kv_cache_usage_perc{engine="0",model_name="a\\"b}c"}': 0.25,
    }


def test_a_page_without_end_is_cut() -> None:
    page = "".join(f'fovea_rejections_total{{code="c{number}"}} 1\n' for number in range(MOST_SERIES + 10))
    assert len(read_page(page)) == MOST_SERIES


def test_a_series_falls_into_its_name_and_labels() -> None:
    assert split_series('a_total{b="c",d="e,f"}') == ("a_total", {"b": "c", "d": "e,f"})
    assert split_series("a_total") == ("a_total", {})


def test_each_metric_of_ours_that_reports_read_is_one_that_fovea_has() -> None:
    documented = (Path(__file__).parents[4] / "docs/operating.md").read_text()
    missing = {name for name in COUNTERS | GAUGES if name.startswith("fovea_") and f"`{name}`" not in documented}
    assert missing == set()


def test_a_line_of_megabytes_and_lines_of_nothing_kept_are_passed_over() -> None:
    long = 'fovea_requests_waiting{a="' + "x" * 100_000 + '"} 1\n'
    page = (
        long + 'fovea_requests_waiting{a="\n' * 1000 + "fovea_requests_waiting 2\nfovea_requests_waiting_total 3\n"
    )
    assert read_page(page) == {"fovea_requests_waiting": 2.0}
