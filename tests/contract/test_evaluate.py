"""`fovea-quantize evaluate` and `gate` over HTTP: what is asked, kept, resumed, reported and decided."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from quantize.cli import app
from quantize.evaluate import endpoint
from quantize.evaluate.questions import SKILLS
from quantize.evaluate.suite import Item, SightSuite
from tests.fakes.oracle import Oracle
from tests.fakes.serve import serving

N = 12


@pytest.fixture(scope="module")
def items() -> list[Item]:
    suite = SightSuite(SKILLS, ("easy",), N)
    return [suite.item(key) for key in suite.keys]


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@contextmanager
def two(base: Oracle, candidate: Oracle, out: Path, *more: object) -> Iterator[Any]:
    """A function that runs one evaluation of both."""
    with serving(base.app) as one, serving(candidate.app) as other:
        ends = ("--base", f"{one}/v1", "--candidate", f"{other}/v1", "--out", out)
        yield lambda *extra: invoke("evaluate", *ends, "--n", N, "--levels", "easy", *more, *extra)


def report_of(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "report.json").read_text())
    return content


def fails_at(*keys: str) -> Any:
    return lambda item: "nonsense" if item.key in keys else item.truth.value


def test_both_are_asked_every_question_once_and_the_difference_is_counted(
    items: list[Item], tmp_path: Path
) -> None:
    base, candidate = Oracle(items), Oracle(items, fails_at("ocr/easy/3", "ocr/easy/5", "count/easy/1"))
    with two(base, candidate, tmp_path, "--concurrency", 5) as evaluate:
        code, output = evaluate()
    assert (code, "build/sight" in output) == (0, False)
    assert sorted(base.asked) == sorted(candidate.asked) == sorted(item.key for item in items)
    assert 1 < base.most_at_once <= 5
    report = report_of(tmp_path)
    groups = {group["skill"]: group for group in report["groups"]}
    assert (report["complete"], list(groups)) == (True, list(SKILLS))
    ocr = groups["ocr"]
    assert (ocr["base"]["right"], ocr["candidate"]["right"], ocr["only_base_right"]) == (N, N - 2, 2)
    assert ocr["candidate"]["character_error"] > ocr["base"]["character_error"] == 0
    assert ocr["agreement"] == (N - 2) / N
    assert groups["count"]["candidate"]["outcomes"] == {"right": N - 1, "no answer": 1}
    assert {case["key"] for case in report["cases"]} == {"ocr/easy/3", "ocr/easy/5", "count/easy/1"}
    (row,) = (line.split() for line in output.splitlines() if line.startswith("ocr"))
    assert row[:6] == ["ocr", "easy", "12", "100.0", "%", "83.3"]


def test_the_page_holds_its_pictures_and_escapes_what_models_say(items: list[Item], tmp_path: Path) -> None:
    candidate = Oracle(
        items, lambda item: "<script>alert(1)</script>" if item.key == "grid/easy/0" else item.truth.value
    )
    with two(Oracle(items), candidate, tmp_path) as evaluate:
        evaluate()
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert page.count('src="data:image/jpeg;base64,') == 1
    assert "http" not in page.replace(f"{report_of(tmp_path)['base']['url']}", "").replace(
        f"{report_of(tmp_path)['candidate']['url']}", ""
    )


def test_an_endpoint_that_dies_leaves_a_report_that_says_so_and_is_resumed(
    items: list[Item], tmp_path: Path
) -> None:
    base, candidate = Oracle(items), Oracle(items)
    candidate.dies_after = 20
    with two(base, candidate, tmp_path, "--concurrency", 4) as evaluate:
        code, output = evaluate()
        assert code == 8
        assert "the candidate at http://" in output
        assert "stopped answering: 503 no" in output
        report = report_of(tmp_path)
        assert (report["complete"], report["unanswered"]) == (False, len(items) - 20)
        assert sum(group["asked"] for group in report["groups"]) == 20
        assert "Not complete" in (tmp_path / "report.html").read_text()
        assert invoke("gate", tmp_path / "report.json")[0] == 6
        candidate.dies_after = None
        before = list(base.asked)
        code, output = evaluate()
    assert (code, "going on: " in output) == (0, True)
    assert sorted(base.asked) == sorted(candidate.asked) == sorted(item.key for item in items)
    assert base.asked[: len(before)] == before
    assert report_of(tmp_path)["complete"] is True


def test_a_torn_line_is_asked_again(items: list[Item], tmp_path: Path) -> None:
    base, candidate = Oracle(items), Oracle(items)
    with two(base, candidate, tmp_path) as evaluate:
        evaluate()
        journal = tmp_path / "answers.jsonl"
        journal.write_bytes(journal.read_bytes()[:-7])
        code, _ = evaluate()
    assert code == 0
    assert len(base.asked) + len(candidate.asked) == 2 * len(items) + 1
    assert report_of(tmp_path)["complete"] is True


def test_hiccups_are_retried(items: list[Item], tmp_path: Path) -> None:
    candidate = Oracle(items)
    candidate.hiccups = 3
    with two(Oracle(items), candidate, tmp_path, "--concurrency", 1) as evaluate:
        assert evaluate()[0] == 0
    assert sorted(candidate.asked) == sorted(item.key for item in items)


def test_refusals_and_rambling_are_wrong_counted_and_shown(items: list[Item], tmp_path: Path) -> None:
    def says(item: Item) -> str:
        if item.skill == "spatial":
            return "I'm sorry, I cannot help with that."
        return "Well, let me think about it. " * 40 if item.skill == "grid" else item.truth.value

    with two(Oracle(items), Oracle(items, says), tmp_path) as evaluate:
        evaluate()
    groups = {group["skill"]: group for group in report_of(tmp_path)["groups"]}
    assert groups["spatial"]["candidate"]["outcomes"] == {"refused": N}
    assert groups["grid"]["candidate"]["outcomes"] == {"cut off": N}
    page = (tmp_path / "report.html").read_text()
    assert f"{N} refused" in page
    assert f"{N} cut off" in page


def test_a_question_that_the_endpoint_refuses_is_wrong_and_told_apart(items: list[Item], tmp_path: Path) -> None:
    candidate = Oracle(items)
    candidate.refuses = 400
    with two(Oracle(items), candidate, tmp_path) as evaluate:
        assert evaluate()[0] == 0
    assert all(group["candidate"]["outcomes"] == {"endpoint error": N} for group in report_of(tmp_path)["groups"])


def test_keys_come_from_the_environment_and_are_written_nowhere(
    items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECOND_KEY", "sk-candidate-secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-base-secret")
    base, candidate = Oracle(items), Oracle(items)
    with two(base, candidate, tmp_path, "--candidate-key-env", "SECOND_KEY") as evaluate:
        _, output = evaluate()
    assert (base.keys, candidate.keys) == ({"Bearer sk-base-secret"}, {"Bearer sk-candidate-secret"})
    assert "secret" not in output + "".join(path.read_text() for path in tmp_path.iterdir())


def test_a_key_that_is_refused_stops_at_once(items: list[Item], tmp_path: Path) -> None:
    candidate = Oracle(items)
    candidate.refuses = 401
    with two(Oracle(items), candidate, tmp_path) as evaluate:
        code, output = evaluate()
    assert (code, "refuses questions (401): check its key and model" in output) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--skills", "smell"], "'smell' is not a skill: there are attribute, count,"),
        (["--levels", ","], "no level is named"),
        (["--image-dir", "."], "--image-dir and --questions go together"),
        (["--tasks", "mmmu"], "--tasks needs lmms-eval"),
    ],
)
def test_usage_errors_are_one_line(items: list[Item], tmp_path: Path, arguments: list[str], sentence: str) -> None:
    with two(Oracle(items), Oracle(items), tmp_path) as evaluate:
        code, output = evaluate(*arguments)
    assert (code, sentence in output, output.count("\n")) == (2, True, 1), output


def test_an_endpoint_that_is_not_there_and_a_choice_of_models(items: list[Item], tmp_path: Path) -> None:
    with serving(Oracle(items, models=2).app) as url:
        code, output = invoke("evaluate", "--base", f"{url}/v1", "--candidate", f"{url}/v1", "--out", tmp_path)
        assert (code, "has 2 models: name one with --base-model" in output) == (2, True)
    code, output = invoke("evaluate", "--base", f"{url}/v1", "--candidate", f"{url}/v1", "--out", tmp_path)
    assert (code, "does not answer" in output) == (19, True)


def test_a_model_that_is_not_served_may_come_to_be(items: list[Item], tmp_path: Path) -> None:
    with two(Oracle(items), Oracle(items), tmp_path) as evaluate:
        code, output = evaluate("--candidate-model", "nope")
    assert (code, "has no model 'nope': it lists m0" in output, output.count("\n")) == (19, True, 1), output


def test_endpoints_that_are_still_starting_are_waited_for(
    items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "LOOK_EVERY_S", 0.01)
    base, candidate = Oracle(items), Oracle(items)
    candidate.starting = 4
    with two(base, candidate, tmp_path, "--levels", "easy", "--skills", "count") as evaluate:
        code, output = evaluate("--wait", 600, "--candidate-model", "m0")
    assert (code, candidate.starting) == (0, 0), output
    assert re.search(r"waiting, at most \d+ s more: --candidate .* answered 503", output)
    assert "has no model 'm0'" in output
    assert sorted(base.asked) == sorted(candidate.asked) != []


def test_a_choice_of_models_is_not_waited_for(items: list[Item], tmp_path: Path) -> None:
    with two(Oracle(items), Oracle(items, models=2), tmp_path) as evaluate:
        code, output = evaluate("--wait", 600)
    assert (code, "has 2 models: name one with --candidate-model" in output) == (2, True)


def test_another_runs_answers_are_never_mixed_in(items: list[Item], tmp_path: Path) -> None:
    with two(Oracle(items), Oracle(items), tmp_path) as evaluate:
        assert evaluate()[0] == 0
        code, output = evaluate("--seed", 5)
        assert (code, "results of another run (seed differ)" in output) == (2, True)


def test_own_questions_are_asked_and_marked(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    Image.new("RGB", (40, 30), "blue").save(tmp_path / "b.jpg")
    lines: list[dict[str, Any]] = [
        {"image": "a.png", "question": "Total?", "answer": "12.50", "skill": "invoices"},
        {"image": "b.jpg", "question": "How many?", "answer": 7, "kind": "number", "skill": "parts"},
        {"image": "a.png", "question": "Where?", "kind": "box", "box": [0, 0, 500, 500], "skill": "parts"},
        {"image": "b.jpg", "question": "OK?", "kind": "choice", "answer": "Yes", "choices": ["yes", "no"]},
    ]
    questions = tmp_path / "q.jsonl"
    questions.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    replies = {"Total?": "12.50", "How many?": "seven", "Where?": "[0, 0, 500, 400]", "OK?": "Yes."}
    from quantize.evaluate.own_questions import OwnQuestions

    source = OwnQuestions(questions, tmp_path)
    items = [source.item(key) for key in source.keys]
    base = Oracle(items, lambda item: replies[item.text])
    candidate = Oracle(items, lambda item: "no" if item.text == "OK?" else replies[item.text])
    with two(base, candidate, tmp_path / "out", "--image-dir", tmp_path, "--questions", questions) as evaluate:
        code, output = evaluate()
    assert code == 0, output
    groups = {group["skill"]: group for group in report_of(tmp_path / "out")["groups"]}
    assert [(g["asked"], g["base"]["right"], g["candidate"]["right"]) for g in groups.values()] == [
        (1, 1, 1),
        (2, 2, 2),
        (1, 1, 0),
    ]
    assert groups["parts"]["base"]["overlap"] == pytest.approx(0.8)


def test_the_gate_is_green_on_enough_agreement_and_red_on_a_loss(items: list[Item], tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("retention: {default: 0.7}\nleast_questions: 10\n")
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text("{}")
    (checkpoint / "fovea-report.json").write_text('{"plan": {"kept": 1}}')
    with two(Oracle(items), Oracle(items), tmp_path / "same") as evaluate:
        evaluate()
    code, output = invoke("gate", tmp_path / "same/report.json", "--policy", policy, "--checkpoint", checkpoint)
    assert (code, "green: attribute, count, spatial, grid, ocr, ground" in output) == (0, True)
    verdict = json.loads((checkpoint / "fovea-report.json").read_text())
    assert verdict["plan"] == {"kept": 1}
    assert (verdict["sight"]["verdict"], verdict["sight"]["breaches"]) == ("green", [])

    blind = Oracle(items, lambda item: "9" if item.skill in ("ocr", "count") else item.truth.value)
    with two(Oracle(items), blind, tmp_path / "blind") as evaluate:
        evaluate()
    code, output = invoke("gate", tmp_path / "blind/report.json", "--policy", policy, "--checkpoint", checkpoint)
    assert code == 6
    assert [line.split(":")[0].strip() for line in output.splitlines() if line.startswith("  ")] == ["count", "ocr"]
    assert json.loads((checkpoint / "fovea-report.json").read_text())["sight"]["verdict"] == "red"


def test_the_bundled_policy_wants_a_hundred_questions(items: list[Item], tmp_path: Path) -> None:
    with two(Oracle(items), Oracle(items), tmp_path) as evaluate:
        evaluate()
    code, output = invoke("gate", tmp_path / "report.json")
    assert (code, f"count: {N} questions asked, 100 needed" in output) == (6, True)
