import json
from pathlib import Path

import pytest

from quantize.errors import RecipeError, UsageError
from quantize.evaluate.gate import POLICY, Policy, breaches, read_policy, read_report, write_verdict
from quantize.evaluate.intervals import Paired, retention, wilson
from quantize.evaluate.report import Estimate, Group, Report, SideResult


def side(right: int, asked: int) -> SideResult:
    low, high = wilson(right, asked)
    accuracy = Estimate(value=right / asked, low=low, high=high)
    return SideResult(right=right, accuracy=accuracy, outcomes={}, character_error=None, overlap=None)


def group(skill: str, level: str, paired: Paired) -> Group:
    kept = retention(paired)
    return Group(
        skill=skill,
        level=level,
        asked=paired.asked,
        base=side(paired.base, paired.asked),
        candidate=side(paired.candidate, paired.asked),
        only_base_right=paired.only_base,
        only_candidate_right=paired.only_candidate,
        difference=Estimate(value=0, low=0, high=0),
        p_value=1,
        agreement=1,
        retention=None if kept is None else Estimate(value=kept[0], low=kept[1], high=kept[2]),
        character_error_difference=None,
        overlap_difference=None,
    )


def report(*groups: Group, complete: bool = True) -> Report:
    return Report(
        date="2026-11-21T00:00:00+00:00",
        fovea="0",
        questions={"suite": "sight 1"},
        base={"url": "http://a", "model": "a"},
        candidate={"url": "http://b", "model": "b"},
        complete=complete,
        unanswered=0 if complete else 3,
        problem="",
        groups=list(groups),
        differing=0,
        cases=[],
    )


SAME, WORSE = Paired(180, 0, 0, 20), Paired(150, 30, 2, 18)


def test_agreement_on_enough_questions_is_green() -> None:
    assert breaches(report(group("ocr", "easy", SAME)), Policy(retention={"default": 0.95})) == []


def test_a_loss_is_one_line_that_says_how_much() -> None:
    (line,) = breaches(report(group("ocr", "easy", WORSE), group("grid", "easy", SAME)), read_policy(POLICY))
    assert line.startswith("ocr: retention 84.4%, shown to be at least 78.")
    assert "needed 95.0% (base 90.0%, candidate 76.0%)" in line


def test_it_is_the_lower_bound_that_counts() -> None:
    few = Paired(60, 0, 0, 0)
    policy = Policy(retention={"default": 0.95}, least_questions=10)
    assert (
        "ocr: retention 100.0%, shown to be at least 94.0%"
        in breaches(report(group("ocr", "easy", few)), policy)[0]
    )


@pytest.mark.parametrize(
    ("found", "policy", "sentence"),
    [
        (report(group("ocr", "easy", SAME), complete=False), {}, "not complete: 3 questions"),
        (report(group("ocr", "easy", Paired(50, 0, 0, 0))), {}, "ocr: 50 questions asked, 100 needed"),
        (report(group("ocr", "easy", Paired(40, 0, 0, 160))), {}, "the base itself answers only 20.0% right"),
        (report(group("ocr", "easy", Paired(0, 0, 10, 190))), {}, "the base itself answers only 0.0% right"),
        (report(group("ocr", "easy", SAME)), {"required_skills": ["grid"]}, "grid: required, but not asked"),
        (report(group("ocr", "easy", SAME)), {"retention": {"ocr/hard": 0.9}}, "ocr/hard: has a threshold, but"),
        (report(), {}, "holds no answers"),
    ],
)
def test_what_shows_nothing_is_red(found: Report, policy: dict[str, object], sentence: str) -> None:
    rules = Policy.model_validate({"retention": {"default": 0.95}, **policy})
    assert [sentence in line for line in breaches(found, rules)] == [True]


def test_skills_are_pooled_over_levels_and_single_levels_have_thresholds_of_their_own() -> None:
    groups = (group("ocr", "easy", SAME), group("ocr", "hard", WORSE), group("ocr", "all", Paired(330, 30, 2, 38)))
    assert [line[:4] for line in breaches(report(*groups), Policy(retention={"ocr": 0.95}))] == ["ocr:"]
    assert breaches(report(*groups), Policy(retention={"ocr": 0.8})) == []
    (line,) = breaches(report(*groups), Policy(retention={"ocr": 0.8, "ocr/hard": 0.9}))
    assert line.startswith("ocr/hard: retention 84.4%")


@pytest.mark.parametrize(
    "text",
    ["retention: {ocr: 2}", "retention: {}", "retention: {ocr: 0.9}\ntypo: 1", "[", "retention: {a/b/c: 0.5}"],
)
def test_a_policy_that_is_not_one_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"policy\.yaml"):
        read_policy(path)


def test_a_report_that_is_not_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    for text in ("{}", "nonsense"):
        path.write_text(text)
        with pytest.raises(UsageError, match="is not a report of fovea-quantize evaluate"):
            read_report(path)
    with pytest.raises(UsageError, match="cannot read"):
        read_report(tmp_path / "none.json")


def test_a_report_reads_back_as_it_was_written(tmp_path: Path) -> None:
    written = report(group("ocr", "easy", WORSE))
    (tmp_path / "r.json").write_text(written.model_dump_json())
    assert read_report(tmp_path / "r.json") == written


def test_the_verdict_never_destroys_what_is_there(tmp_path: Path) -> None:
    policy, found = Policy(retention={"default": 0.9}), report(group("ocr", "easy", SAME))
    with pytest.raises(UsageError, match="not a checkpoint folder"):
        write_verdict(found, policy, [], tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "fovea-report.json").write_text("half a re")
    with pytest.raises(UsageError, match="repair or remove it"):
        write_verdict(found, policy, [], tmp_path)
    assert (tmp_path / "fovea-report.json").read_text() == "half a re"
    (tmp_path / "fovea-report.json").write_text('{"verify": "ok"}')
    content = json.loads(write_verdict(found, policy, ["ocr: lost"], tmp_path).read_text())
    assert content["verify"] == "ok"
    assert (content["sight"]["verdict"], content["sight"]["breaches"]) == ("red", ["ocr: lost"])
    assert content["sight"]["report"]["groups"][0]["skill"] == "ocr"
