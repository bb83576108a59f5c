"""The sight gate on real vLLM: FP8-dynamic passes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from demo.run import PICTURES
from tests.conftest import Stack

QUESTIONS = 120  # a skill: as few as show 95 % when nothing is lost, and a little over


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "quantize.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def evaluate(base: Stack, candidate: Stack, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    ends = ("--base", f"{base.url}/v1", "--candidate", f"{candidate.url}/v1", "--out", out)
    return run("evaluate", *ends, "--levels", "easy", "--n", QUESTIONS, *options)


def test_fp8_dynamic_gates_green_and_the_verdict_is_in_its_checkpoint(
    bf16: Stack, fp8: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = evaluate(bf16, fp8, tmp_path)
    assert done.returncode == 0, done.stderr
    with capsys.disabled():
        print(f"\n{done.stdout}")
    gate = run("gate", tmp_path / "report.json", "--checkpoint", fp8.checkpoint)
    assert gate.returncode == 0, gate.stderr
    assert "green: attribute, count, spatial, grid, ocr, ground" in gate.stdout
    sight = json.loads((fp8.checkpoint / "fovea-report.json").read_text())["sight"]
    assert (sight["verdict"], sight["breaches"]) == ("green", [])


def test_ones_own_questions_are_asked_of_both(bf16: Stack, fp8: Stack, tmp_path: Path) -> None:
    ends = ("--base", f"{bf16.url}/v1", "--candidate", f"{fp8.url}/v1", "--out", tmp_path)
    done = run("evaluate", *ends, "--image-dir", PICTURES, "--questions", PICTURES / "questions.jsonl")
    assert done.returncode == 0, done.stderr
    groups = json.loads((tmp_path / "report.json").read_text())["groups"]
    assert [group["skill"] for group in groups] == ["ground", "count", "spatial", "grid", "ocr"]
    assert [(group["base"]["right"], group["candidate"]["right"]) for group in groups] == [(1, 1)] * 5
