"""Rules, their tests and runbooks ask for series that exist: names, labels, their values and buckets."""

import re
from collections.abc import Iterator
from functools import cache

import pytest
import yaml

from tests.conftest import ROOT
from tests.observe.declared import TARGET_LABELS, Series, series
from tests.observe.rule_files import FOLDER, Selector, rule_tests, rules, selectors

# Values that no source of ours has in quotes: numbers, and what this folder says itself.
OWN_LABELS = {"job", "slo", "status", "xid"}


def told_by(selector: Selector) -> Series | None:
    """None for what rules record."""
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    if selector.name in recorded:
        return None
    found = series().get(selector.name)
    assert found is not None, f"nothing tells {selector.name}"
    return found


def of_rules() -> Iterator[Selector]:
    for rule in rules():
        yield from selectors(rule["expr"])


@cache
def words_of_ours() -> set[str]:
    """Every text in double quotes in the sources."""
    return {
        word for path in (ROOT / "server").rglob("*.py") for word in re.findall(r'"([\w-]*)"', path.read_text())
    }


def test_everything_that_rules_select_is_told_by_gateway_engine_or_vllm() -> None:
    assert len({selector.name for selector in of_rules() if told_by(selector)}) > 30


def test_labels_that_rules_match_are_there() -> None:
    for selector in of_rules():
        found = told_by(selector)
        if found is not None:
            assert selector.matchers.keys() <= found.labels | TARGET_LABELS, selector


def test_values_that_rules_match_are_declared_or_words_of_the_sources() -> None:
    """A code, state or bucket that there is not is an empty panel, and an alert that never fires."""
    for selector in of_rules():
        found = told_by(selector)
        for label, (_, text) in selector.matchers.items():
            if found is not None and label in found.values:
                assert set(text.split("|")) <= found.values[label], selector
            elif label not in OWN_LABELS:
                assert set(text.split("|")) <= words_of_ours(), selector


def test_jobs_that_rules_name_are_those_of_the_configuration() -> None:
    jobs = {job["job_name"] for job in yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]}
    assert jobs == {each.matchers["job"][1] for each in of_rules() if "job" in each.matchers}


def test_tests_of_rules_are_given_series_as_they_are_scraped() -> None:
    """With every label, but for empty ones: a rule that adds up too much or too little is seen."""
    for test in rule_tests():
        for given in test["input_series"]:
            [selector] = selectors(given["series"])
            found = told_by(selector)
            assert found is not None
            assert selector.matchers.keys() >= {"job", "instance"} | found.labels - {"code"}, given
            assert selector.matchers.keys() <= found.labels | TARGET_LABELS, given


@pytest.mark.parametrize(
    ("expr", "names"),
    [
        ("sum by (a, b) (rate(m_total[5m])) / on (a) group_left (c) n", ["m_total", "n"]),
        ('absent(up{job="x", le!~"a|}"} == 1) and on () vllm:q offset 1h', ["up", "vllm:q"]),
        ("clamp_min(x, 1) * 2 > bool y unless ignoring (z) (w)", ["x", "y", "w"]),
    ],
)
def test_what_an_expression_selects_is_read(expr: str, names: list[str]) -> None:
    assert [selector.name for selector in selectors(expr)] == names


def test_matchers_are_read() -> None:
    [selector] = selectors('rate(m{a="1", b!~"x|y"}[5m] offset 3h)')
    assert selector.matchers == {"a": ("=", "1"), "b": ("!~", "x|y")}
