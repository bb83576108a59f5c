import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from loadtest.records import MetricSample
from loadtest.reporting.making import make_report
from loadtest.reporting.page import make_page
from loadtest.reporting.plots import scale_of, ticks_to
from loadtest.reporting.table import align, make_table, number
from tests.unit.loadtest.reporting.runs import failed, make_run

EVIL = "<script>alert(1)</script><img src=x onerror=y>'\""
EVIL_METRIC = 'fovea_images_by_cache_total{outcome="<svg onload=z>"}'


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {(name, value or "") for name, value in attrs}


def read(page: str) -> Elements:
    parsed = Elements()
    parsed.feed(page)
    return parsed


def evil_page() -> str:
    run = make_run(100)
    requests = tuple(replace(one, tenant=EVIL, engine=EVIL, image_cache=EVIL) for one in run.requests)
    values = {EVIL_METRIC: 1.0} | {f'fovea_requests_waiting{{model="m",x="<b>{place}"}}': 1.0 for place in "12"}
    samples = tuple(
        MetricSample(at, EVIL, {name: at * value for name, value in values.items()}) for at in (0.0, 50.0)
    )
    info = replace(run.info, scenario=EVIL, model=EVIL, url=EVIL, command=EVIL, machine={EVIL: EVIL}, driver=EVIL)
    return make_page(
        make_report(replace(run, info=info, requests=(*requests, failed(100, 50.0, EVIL)), samples=samples))
    )


def test_names_are_escaped_wherever_they_stand() -> None:
    page = evil_page()
    plain = make_page(make_report(make_run(100)))
    assert read(page).names - read(plain).names == set()
    assert not {name for name, _ in read(page).attributes if name.startswith("on")}
    assert page.count("&lt;script&gt;") >= 8


def test_the_page_loads_nothing() -> None:
    page = make_page(make_report(make_run()))
    elements = read(page)
    assert not elements.names & {"script", "link", "img", "iframe", "object", "embed", "image", "use", "base", "a"}
    assert not {name for name, _ in elements.attributes} & {"src", "href", "xlink:href", "srcset", "action", "data"}
    assert not re.search(r"url\(|@import", page)
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in elements.attributes


def test_the_page_draws_every_timeline_and_tally() -> None:
    report = make_report(make_run())
    page = make_page(report)
    assert page.count("<svg") == len(report.timelines) + len(report.tallies) + 1
    assert "nan" not in page.lower().replace("tenant", "")


def test_a_run_in_which_nothing_was_answered_has_a_page() -> None:
    run = make_run(1)
    for requests in ((), (failed(0, 10.0),)):
        page = make_page(make_report(replace(run, requests=requests, samples=())))
        assert "Nothing was answered." in page


@pytest.mark.parametrize(
    ("most", "ticks"),
    [(0, [0, 1]), (1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (7, [0, 2, 4, 6, 8]), (100, [0, 20, 40, 60, 80, 100])],
)
def test_axes_have_round_numbers_that_hold_the_most(most: float, ticks: list[float]) -> None:
    assert ticks_to(most) == pytest.approx(ticks)


@pytest.mark.parametrize("most", [1e-9, 0.037, 3.3, 99.9, 12345.6, 8e10])
def test_axes_have_few_ticks_and_hold_the_most(most: float) -> None:
    ticks = ticks_to(most)
    assert len(ticks) <= 7
    assert ticks[-1] >= most * (1 - 1e-9)


def test_bytes_are_drawn_in_their_unit() -> None:
    assert scale_of(3 << 30, "bytes") == (1 << 30, "GiB")
    assert scale_of(10, "bytes") == (1.0, "bytes")
    assert scale_of(0.5, "share") == (0.01, "%")


def test_the_table_says_what_the_report_holds() -> None:
    run = make_run()
    table = make_table(make_report(replace(run, requests=(*run.requests, failed(400, 50.0)))))
    for told in ("400 answered, 1 failed", "TTFT, ms", "goodput:", "overloaded", "hit-gpu 300 (75.0 %)", "shop"):
        assert told in table


def test_no_control_character_of_a_server_reaches_the_terminal() -> None:
    run = make_run(100)
    bad = replace(failed(100, 50.0), code="\x1b]0;evil\x07\nline", tenant="a\x1b[2J")
    table = make_table(make_report(replace(run, requests=(*run.requests, bad))))
    assert "\x1b" not in table
    assert "\x07" not in table
    assert "?]0;evil??line" in table


def test_columns_stand_under_one_another() -> None:
    assert align([("a", "bb"), ("ccc", "d")]) == "a    bb\n-------\nccc  d"


@pytest.mark.parametrize(("value", "told"), [(0.01234, "0.0123"), (12.34, "12.3"), (1234.5, "1,234"), (0, "0")])
def test_numbers_have_three_figures(value: float, told: str) -> None:
    assert number(value) == told
