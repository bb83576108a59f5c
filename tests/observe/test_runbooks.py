"""Every alert has its runbook and every runbook its alert, and what runbooks say to type exists."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import quantize.cli
import server.cli
from tests.conftest import ROOT
from tests.observe.rule_files import alerts, rules, selectors
from tests.observe.test_rule_series import told_by
from tests.unit.test_documentation import GUIDE, setting_names

FOLDER = ROOT / "docs" / "runbooks"
RUNBOOKS = sorted(FOLDER.glob("*.md"))
PROGRAMS = {"fovea": server.cli.app, "fovea-quantize": quantize.cli.app}
PARTS = ["What it means", "Confirm", "Do", "Do not"]
COMMAND = re.compile(r"\b(fovea(?:-quantize)?) ((?:[a-z]+ )+)([^`\n|#]*)")
SLO = "{{ $labels.slo }}"


def objectives() -> dict[str, str]:
    """Of each SLO, what is to be good."""
    targets = [rule for rule in rules() if rule.get("record") == "slo:fovea_objective:ratio"]
    return {rule["labels"]["slo"]: rule["expr"] for rule in targets}


def runbooks_of(alert: dict[str, dict[str, str]]) -> list[Path]:
    """Of an alert on an SLO, one for each."""
    url = alert["annotations"]["runbook_url"]
    names = [url.replace(SLO, slo) for slo in objectives()] if SLO in url else [url]
    return [ROOT / name for name in names]


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    for alert in alerts():
        for path in runbooks_of(alert):
            assert alert["alert"] in path.read_text().splitlines()[0]
            assert alert["labels"]["severity"] in path.read_text().splitlines()[0]
    assert {path for alert in alerts() for path in runbooks_of(alert)} == set(RUNBOOKS)


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_a_runbook_says_what_to_do_with_queries_and_commands_that_exist(path: Path) -> None:
    text = path.read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == PARTS
    queries = re.findall(r"```promql\n(.*?)\n```", text, re.DOTALL)
    assert queries
    quoted = [each for each in re.findall(r"`([^`\n]+)`", text) if re.search(r"\bfovea_|vllm:|:fovea", each)]
    for query in (*queries, *quoted):
        for selector in selectors(query):
            told_by(selector)
    assert set(re.findall(r"FOVEA_[A-Z]+__[A-Z_]+", text)) <= set(setting_names())
    for name in re.findall(r"\]\((\S+?)(?:#[\w-]+)?\)", text):
        assert (FOLDER / name).exists(), name


def typed() -> list[tuple[str, str, str, str]]:
    found = [(path.stem, *each.groups()) for path in RUNBOOKS for each in COMMAND.finditer(path.read_text())]
    return sorted({(stem, program, words.strip(), rest) for stem, program, words, rest in found})


@pytest.mark.parametrize(("stem", "program", "words", "rest"), typed())
def test_commands_in_runbooks_exist_with_their_options(stem: str, program: str, words: str, rest: str) -> None:
    shown = CliRunner().invoke(PROGRAMS[program], [*words.split(), "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    for option in re.findall(r"--[a-z-]+", rest):
        assert option in shown.output


def test_runbooks_name_commands_at_all() -> None:
    assert {(program, words) for _, program, words, _ in typed()} >= {("fovea", "top"), ("fovea", "cache verify")}


def test_no_runbook_repeats_an_objective() -> None:
    """They stand in rules/slo.yml alone, and in the guide's table, which is held to it."""
    thresholds = [rule["expr"] for rule in rules() if rule.get("record") == "slo:fovea_threshold:seconds"]
    numbers = {f"{number_of(each):g} s" for each in thresholds}
    numbers |= {f"{100 * number_of(each):g} %" for each in objectives().values()}
    for path in FOLDER.glob("slo-*.md"):
        assert [number for number in numbers if number in path.read_text()] == []


def number_of(vector: str) -> float:
    return float(vector.removeprefix("vector(").removesuffix(")"))


def test_the_guide_lists_every_alert_with_its_severities_and_its_runbook() -> None:
    severities: dict[str, set[str]] = {}
    for alert in alerts():
        severities.setdefault(alert["alert"], set()).add(alert["labels"]["severity"])
    listed = re.findall(r"^\| \[?`(Fovea\w+)`(?:\]\(runbooks/[\w-]+\.md\))? \| ([a-z, ]+) \|", GUIDE, re.MULTILINE)
    assert {name: set(words.split(", ")) for name, words in listed} == severities
    linked = set(re.findall(r"\]\((runbooks/\S+\.md)\)", GUIDE))
    assert linked == {f"runbooks/{path.name}" for path in RUNBOOKS}


def test_the_guide_tells_the_objectives_as_the_rules_have_them() -> None:
    thresholds = {
        rule["labels"]["slo"]: f" within {number_of(rule['expr']):g} s"
        for rule in rules()
        if rule.get("record") == "slo:fovea_threshold:seconds"
    }
    for slo, target in objectives().items():
        assert f"| `{slo}` | {100 * number_of(target):g} %{thresholds.get(slo, '')} |" in GUIDE


def test_a_latency_is_counted_by_the_bucket_of_its_threshold() -> None:
    bounds = {
        rule["labels"]["slo"]: {
            float(each.matchers["le"][1]) for each in selectors(rule["expr"]) if "le" in each.matchers
        }
        for rule in rules()
        if rule.get("record") == "instance_model:fovea_slo_bad:total"
    }
    for rule in rules():
        if rule.get("record") == "slo:fovea_threshold:seconds":
            assert bounds[rule["labels"]["slo"]] == {number_of(rule["expr"])}
