"""The sight gate on real vLLM: the FP8 checkpoint against the original, asked a user's own questions."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from demo.held_out import held_out
from tests.conftest import Stack

PICTURES = 110
KINDS = {"count": "number", "colour": "text", "shape": "text"}


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "quantize.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of held-out pictures and questions.jsonl about them."""
    folder = tmp_path_factory.mktemp("own")
    lines = []
    for index in range(PICTURES):
        picture = held_out(index)
        name = f"{index}.{picture.media_type.removeprefix('image/')}"
        (folder / name).write_bytes(picture.data)
        for question in picture.questions:
            entry = {"image": name, "question": question.text, "answer": question.answer, "skill": question.skill}
            lines.append(json.dumps({**entry, "kind": KINDS[question.skill]}))
    (folder / "questions.jsonl").write_text("\n".join(lines))
    return folder


def test_fp8_dynamic_gates_green_and_the_verdict_is_in_its_checkpoint(
    bf16: Stack, fp8: Stack, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = ("--base", f"{bf16.url}/v1", "--candidate", f"{fp8.url}/v1", "--out", tmp_path)
    done = run("evaluate", *ends, "--image-dir", own, "--questions", own / "questions.jsonl")
    assert done.returncode == 0, done.stderr
    with capsys.disabled():
        print(f"\n{done.stdout}")
    policy = tmp_path / "policy.yaml"
    policy.write_text("retention: {default: 0.93}\nleast_base_accuracy: 0.9\n")
    gate = run("gate", tmp_path / "report.json", "--policy", policy, "--checkpoint", fp8.checkpoint)
    assert gate.returncode == 0, gate.stderr
    assert "green: " in gate.stdout
    sight = json.loads((fp8.checkpoint / "fovea-report.json").read_text())["sight"]
    assert (sight["verdict"], sight["breaches"]) == ("green", [])
    assert {group["skill"] for group in sight["report"]["groups"]} == {"count", "colour", "shape"}


def test_pictures_swapped_under_one_side_gate_red(bf16: Stack, own: Path, tmp_path: Path) -> None:
    """The same model as its own candidate, but its answers are those about other pictures: nothing is kept."""
    questions = [json.loads(line) for line in (own / "questions.jsonl").read_text().splitlines()]
    counts = [question for question in questions if question["skill"] == "count"]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, counts)))
    ends = ("--base", f"{bf16.url}/v1", "--candidate", f"{bf16.url}/v1", "--out", tmp_path / "out")
    arguments = ("evaluate", *ends, "--image-dir", own, "--questions", tmp_path / "q.jsonl")
    assert run(*arguments).returncode == 0
    journal = tmp_path / "out" / "answers.jsonl"
    head, *lines = journal.read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    mine = [entry for entry in entries if entry["side"] == "candidate"]
    for entry, other in zip(mine, [each["text"] for each in mine[1:] + mine[:1]], strict=True):
        entry["text"] = other
    journal.write_text("\n".join([head, *map(json.dumps, entries)]) + "\n")
    assert run(*arguments).returncode == 0
    gate = run("gate", tmp_path / "out" / "report.json")
    assert gate.returncode == 6
    assert "count: retention" in gate.stderr
