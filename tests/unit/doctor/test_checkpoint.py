import json
from pathlib import Path
from typing import Any

import pytest

from server.doctor.checkpoint import check_checkpoint, check_report
from server.doctor.finding import Verdict
from server.engine.metrics.checkpoint import REPORT
from tests.unit.engine.test_checkpoint_policy import GREEN, PROVED, write

DEMO = Path(__file__).parents[3] / "demo" / "model"
QUANTIZED = {"quantization_config": {"quant_method": "compressed-tensors"}}
MADE = {"recipe": {"name": "fp8-dynamic"}}


def test_the_bundled_model_is_fine() -> None:
    assert [found.verdict for found in check_checkpoint(str(DEMO))] == ["ok", "ok"]


def test_a_folder_that_is_none_and_one_without_weights_are_failures(tmp_path: Path) -> None:
    (found,) = check_checkpoint(str(tmp_path))
    assert (found.verdict, "config.json" in found.told) == ("failure", True)
    (tmp_path / "config.json").write_text("{}")
    (found,) = check_checkpoint(str(tmp_path))
    assert found.verdict == "failure"


def test_weights_that_are_cut_short_are_a_failure(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"\x10")
    assert [found.verdict for found in check_checkpoint(str(tmp_path))] == ["failure"]


def test_a_hubs_model_is_not_looked_at() -> None:
    assert [found.verdict for found in check_checkpoint("Org/Model")] == ["warning"]


@pytest.mark.parametrize(
    ("config", "report", "verdict"),
    [
        ({}, None, "ok"),
        (QUANTIZED, None, "warning"),
        (QUANTIZED, {"quantize": MADE}, "warning"),
        (QUANTIZED, {"quantize": {**MADE, "proof": {"tensors": 1}}}, "warning"),
        (QUANTIZED, {"quantize": MADE, "sight": {"verdict": "green"}}, "ok"),
        (QUANTIZED, {"quantize": MADE, "sight": {"verdict": "red"}}, "failure"),
    ],
)
def test_a_report_says_whether_what_the_model_sees_was_measured(
    tmp_path: Path, config: dict[str, Any], report: dict[str, Any] | None, verdict: Verdict
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    if report is not None:
        (tmp_path / REPORT).write_text(json.dumps(report))
    (found,) = check_report(tmp_path)
    assert found.verdict == verdict


def test_a_report_of_other_files_is_a_failure(tmp_path: Path) -> None:
    folder = write(tmp_path / "c", {"quantize": PROVED, "sight": GREEN})
    assert [found.verdict for found in check_checkpoint(str(folder))] == ["ok", "ok"]
    (folder / "tokenizer.json").write_text("another")
    found = list(check_checkpoint(str(folder)))[-1]
    assert (found.verdict, "is not the file that SHA256SUMS describes" in found.told) == ("failure", True)
