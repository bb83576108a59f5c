"""Queries of panels are asked of a real Prometheus as Grafana asks them."""

import time
from collections.abc import Iterator

import pytest

from demo.observe.programs import Prometheus, find, prometheus
from deploy.grafana.render.answers import PrometheusError, Span, ask_board
from server.together import free_port


def board_of(expr: str, **target: object) -> dict[str, object]:
    asked = {"refId": "A", "expr": expr, **target}
    variables = {"templating": {"list": [{"name": "job", "current": {"value": "$__all"}, "allValue": ".*"}]}}
    return {"panels": [{"id": 1, "type": "row"}, {"id": 2, "type": "stat", "targets": [asked]}], **variables}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It watches nobody; what is asked of it is made by the queries themselves."""
    if find("prometheus") is None:
        pytest.skip("SKIPPED: no prometheus: python3 deploy/environments/set_up.py prometheus")
    with prometheus(tmp_path_factory.mktemp("prometheus"), [], 1) as running:
        yield running


def test_a_panel_is_told_a_value_for_each_step_of_the_time_shown(empty: Prometheus) -> None:
    span = Span.last(600, "1m")
    answers = ask_board(empty.url, board_of('label_replace(vector(7), "job", "a", "", "")'), span)
    assert (answers["from"], answers["to"], answers["step"]) == (span.start, span.end, 2)
    (series,) = answers["panels"]["2"]["A"]
    assert series["metric"] == {"job": "a"}
    assert [at for at, _ in series["values"]] == list(range(span.start, span.end + 1, 2))
    assert {value for _, value in series["values"]} == {"7"}


def test_a_table_is_told_one_value_at_the_end(empty: Prometheus) -> None:
    span = Span(int(time.time()) - 60, int(time.time()), "1m")
    answers = ask_board(empty.url, board_of("vector(3)", instant=True), span)
    assert answers["panels"] == {"2": {"A": [{"metric": {}, "value": [span.end, "3"]}]}}


def test_a_query_that_is_refused_is_named_with_the_reason(empty: Prometheus) -> None:
    with pytest.raises(PrometheusError, match=r"sum\(: .*unclosed left parenthesis"):
        ask_board(empty.url, board_of("sum("), Span.last(60, "1m"))


def test_variables_are_as_the_dashboard_has_them_at_first(empty: Prometheus) -> None:
    expr = 'up{job=~"$job"}[$__rate_interval]'
    with pytest.raises(PrometheusError, match=r'up{job=~"\.\*"}\[2m\]'):
        ask_board(empty.url, board_of(f"sum({expr})"), Span.last(60, "2m"))


def test_a_prometheus_that_is_not_there_is_said_to_be_so() -> None:
    with pytest.raises(PrometheusError, match="does not answer"):
        ask_board(f"http://127.0.0.1:{free_port()}", board_of("up"), Span.last(60, "1m"))
