"""What contradicts itself is refused in one sentence, and every such sentence of the chart has been seen."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm.template import CHART
from tests.chart.rendering import NEWEST, refusal

REFUSALS: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("refusals.yaml").read_text())
pytestmark = pytest.mark.usefixtures("helms")
# `fail "..."`, or `fail (printf "..." ...)`, whose %s, %d and %v may be anything.
FAIL = re.compile(r'\bfail\s+(?:\(printf\s+)?"((?:[^"\\]|\\.)*)"')
BLANK = re.compile(r"%[sdvqf]")
SAID = re.compile(r"execution error at \([^)]*\): (?P<sentence>.*)")


@cache
def said(index: int, folder: Path) -> str:
    file = folder / f"{index}.yaml"
    file.write_text(yaml.safe_dump(REFUSALS[index]["values"]))
    told = refusal(NEWEST, file, *REFUSALS[index].get("options", []))
    found = SAID.search(told)
    assert found is not None, told
    return found["sentence"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("refusals")


@pytest.mark.parametrize("index", range(len(REFUSALS)), ids=[each["sentence"][:60] for each in REFUSALS])
def test_a_contradiction_is_told_in_one_sentence(index: int, folder: Path) -> None:
    assert said(index, folder) == REFUSALS[index]["sentence"]
    assert re.fullmatch(r"[^\n]+[.?]", REFUSALS[index]["sentence"])


def sentences_of_templates() -> dict[str, str]:
    """Each sentence as it stands there, with the template's name."""
    templates = sorted((CHART / "templates").rglob("*"))
    return {
        sentence: str(path.relative_to(CHART))
        for path in templates
        if path.is_file()
        for sentence in FAIL.findall(path.read_text())
    }


def test_every_sentence_that_the_chart_refuses_with_has_been_seen() -> None:
    told = [each["sentence"] for each in REFUSALS]
    unseen = []
    for sentence, template in sentences_of_templates().items():
        pattern = ".*".join(re.escape(part) for part in BLANK.split(sentence.replace('\\"', '"')))
        if not any(re.fullmatch(pattern, each) for each in told):
            unseen.append(f"{template}: {sentence}")
    assert unseen == [], "tests/chart/refusals.yaml has no values that reach it"


def test_every_fail_is_read_by_this_test() -> None:
    """Were one written otherwise, nothing would ask for its case."""
    templates = [path.read_text() for path in sorted((CHART / "templates").rglob("*")) if path.is_file()]
    assert sum(len(FAIL.findall(text)) for text in templates) == sum(
        len(re.findall(r"\{\{-? *fail\b|\bfail +[\"(]", text)) for text in templates
    )
