"""What a panel shows, in a line; and which of its queries found nothing."""

import math

import pytest

from demo.observe.programs import Prometheus, Sample
from demo.observe.values import lines, missing, told
from deploy.grafana.queries import Asked, Shown


class Recorded(Prometheus):
    """Answers what it was given, by query."""

    def __init__(self, **answers: list[Sample]) -> None:
        self._answers = answers

    def ask(self, expr: str) -> list[Sample]:
        return self._answers[expr]


def panel(unit: str, *queries: Asked, kind: str = "timeseries", title: str = "Busy") -> Shown:
    return Shown("Board", "Row", title, kind, unit, queries)


@pytest.mark.parametrize(
    ("unit", "value", "words"),
    [
        ("percentunit", 0.5, "50.0%"),
        ("s", 0.0125, "12.5 ms"),
        ("s", 2, "2 s"),
        ("bytes", 0, "0 B"),
        ("bytes", 1536, "1.5 KiB"),
        ("bytes", 3 * 1024**3, "3 GiB"),
        ("bytes", 1e19, "9.095e+06 TiB"),
        ("Bps", 1024, "1 KiB/s"),
        ("reqps", 0.25, "0.25/s"),
        ("short", 123456, "123,456"),
        ("watt", 310, "310 W"),
        ("none", -2.5, "-2.5"),
    ],
)
def test_values_are_told_in_the_panels_unit(unit: str, value: float, words: str) -> None:
    assert told(panel(unit, Asked("a", "")), Recorded(a=[Sample({}, value)])) == words


def test_series_have_the_names_of_the_legend_and_are_few() -> None:
    found = [Sample({"engine": f"engine-{n}"}, n) for n in range(6)]
    shown = told(panel("none", Asked("a", "{{engine}} p50")), Recorded(a=found))
    assert shown == "engine-0 p50: 0, engine-1 p50: 1, engine-2 p50: 2, engine-3 p50: 3 and 2 more"


def test_a_table_shows_its_labels() -> None:
    found = [Sample({"__name__": "x", "job": "j", "instance": "i", "vllm": "0.32", "engine": "engine-0"}, 1)]
    assert told(panel("", Asked("a", ""), kind="table"), Recorded(a=found)) == "engine=engine-0 vllm=0.32"


@pytest.mark.parametrize("nothing", [[], [Sample({}, math.nan)], [Sample({}, math.inf)]])
def test_what_is_no_number_is_no_data(nothing: list[Sample]) -> None:
    """A share of nothing, and a price of nothing: Prometheus answers them with a series."""
    asked = panel("s", Asked("a", "p50"), Asked("b", "p95"))
    prometheus = Recorded(a=nothing, b=[Sample({}, 1)])
    assert missing(asked, prometheus) == ["a"]
    assert told(panel("s", Asked("a", "p50")), prometheus) == "no data"


def test_dashboards_and_rows_are_headings_said_once() -> None:
    prometheus = Recorded(a=[Sample({}, 1)])
    two = [panel("none", Asked("a", ""), title=title) for title in ("One", "Two")]
    shown = list(lines(two, prometheus))
    assert [line.strip() for line in shown[:2]] == ["== Board", "-- Row"]
    assert [line.split() for line in shown[2:]] == [["One", "1"], ["Two", "1"]]
