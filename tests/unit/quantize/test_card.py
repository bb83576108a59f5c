import json
import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from quantize import run as runs
from quantize.architecture import find_architecture
from quantize.card import make_front, read_front, write_card
from quantize.checkpoint import read_config
from quantize.errors import UsageError
from quantize.manifest import update_report
from quantize.plan import Plan, make_plan
from quantize.recipe import read_recipe
from quantize.verify import verify_files
from tests.unit.quantize.checkpoints import toy, write_checkpoint

README = """---
license: apache-2.0
language: [en]
tags: [vision]
base_model: somebody/else
---
# What the source says of itself
"""
ACCURACY = {"value": 0.9, "low": 0.8, "high": 0.95}
SIGHT = {
    "verdict": "red",
    "breaches": ["ocr: retention 90.0%, shown to be at least 85.0%, needed 95.0%"],
    "date": "2026-11-21T10:00:00+00:00",
    "report": {
        "questions": {"suite": "sight"},
        "groups": [
            {
                "skill": "ocr",
                "level": "easy",
                "asked": 100,
                "base": {"accuracy": {**ACCURACY, "value": 1.0}},
                "candidate": {"accuracy": ACCURACY},
                "retention": ACCURACY,
            }
        ],
    },
}


@pytest.fixture
def made(tmp_path: Path) -> tuple[Plan, Path]:
    source = write_checkpoint(tmp_path / "m", toy())
    (source / "README.md").write_text(README)
    plan = make_plan(source, read_recipe("fp8-dynamic"), find_architecture(read_config(source)))
    runs.run_plan(plan, tmp_path / "out", "stream", 1, True, {}, lambda _: None)
    return plan, tmp_path / "out"


def test_a_card_says_what_is_kept_and_why_and_what_is_proved(made: tuple[Plan, Path]) -> None:
    plan, out = made
    assert (out / "README.md").read_text() == README
    text = write_card(out, "toy-fp8", "org/toy").read_text()
    report = json.loads((out / "fovea-report.json").read_text())["quantize"]
    assert "# toy-fp8\n" in text
    assert "`org/toy` quantized by `fp8-dynamic` (FP8_DYNAMIC)" in text
    assert "| vision | 1 | 0 | 0.00 | 0.00 | sight stays as it is |" in text
    assert "| mlp | 3 | 3 | 0.00 | 0.00 |  |" in text
    assert f"SHA-256 `{report['proof']['sight']['sha256']}`" in text
    assert "Not measured yet" in text
    assert re.search(r"\|\n\n## What is proved\n\n- ", text)  # else the heading would be the table's last row
    assert "\n\n\n" not in text
    assert all(f"`{pattern}`" in text for pattern in plan.ignore)
    assert list(verify_files(plan, out)) == []


def test_what_the_gate_found_is_on_the_card(made: tuple[Plan, Path]) -> None:
    _, out = made
    update_report(out, "sight", SIGHT)
    text = write_card(out, "toy-fp8", None).read_text()
    assert "The gate is **red**" in text
    assert "| ocr | easy | 100 | 100.0% | 90.0% | 80.0% |" in text
    assert "- ocr: retention 90.0%, shown to be at least 85.0%, needed 95.0%" in text
    assert "Not measured yet" not in text


def test_what_heads_the_sources_readme_is_kept(made: tuple[Plan, Path]) -> None:
    _, out = made
    write_card(out, "toy-fp8", "org/toy")
    front = read_front(out / "README.md")
    assert (front["license"], front["language"]) == ("apache-2.0", ["en"])
    assert (front["base_model"], front["base_model_relation"]) == ("org/toy", "quantized")
    assert front["tags"] == ["vision", "vllm", "compressed-tensors", "fovea", "fp8"]
    first = (out / "README.md").read_bytes()
    write_card(out, "toy-fp8", "org/toy")
    assert (out / "README.md").read_bytes() == first


@pytest.mark.parametrize(
    "text", ["", "# no head", "---\n: : :\n---\n", "---\n- list\n---\n", "---\nnever closed: 1\n"]
)
def test_a_readme_without_a_head_is_no_harm(tmp_path: Path, text: str) -> None:
    (tmp_path / "README.md").write_text(text)
    assert read_front(tmp_path / "README.md") == {}
    assert yaml.safe_load(yaml.safe_dump(make_front({}, "fp8", None)))["library_name"] == "vllm"


def test_a_folder_that_no_run_made_gets_no_card(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="make the checkpoint with fovea-quantize run"):
        write_card(write_checkpoint(tmp_path / "m", toy()), "x", None)


def test_the_command_names_the_card_after_the_folder(made: tuple[Plan, Path]) -> None:
    from quantize.cli import app

    told = CliRunner().invoke(app, ["card", str(made[1])])
    assert (told.exit_code, told.output) == (0, f"written: {made[1] / 'README.md'}\n")
    assert "# out\n" in (made[1] / "README.md").read_text()
