"""Calibrated recipes on real llm-compressor, read back by compressed-tensors and by real vLLM."""

import json
import subprocess
from pathlib import Path

import pytest

from demo.processes import Running
from quantize.architecture import find_architecture
from quantize.checkpoint import read_config
from quantize.plan import Plan, make_plan
from quantize.recipe import read_recipe
from quantize.verify import verify_weights
from quantize.weights_file import PACKED
from tests.conftest import DEMO_MODEL, ENGINE_START_S, ROOT
from tests.e2e.conftest import QUANTIZE_PYTHON


def run(source: Path, out: Path, *options: str) -> str:
    made = Running("quantize.cli", "run", str(source), str(out), *options)
    assert made.finish(400) == 0, made.tail()
    return made.output


def plan_of(recipe: str) -> Plan:
    return make_plan(DEMO_MODEL, read_recipe(recipe), find_architecture(read_config(DEMO_MODEL)))


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("calibrated") / "int8"
    said = run(DEMO_MODEL, out, "--recipe", "w8a8-int8", "--samples", "8")
    assert "tensors: 30 quantized to INT8, 9 rescaled, 120 kept bit for bit" in said
    return out


@pytest.mark.parametrize("recipe", ["w4a16", "w4a16-awq"])
def test_four_bits_are_read_alike_by_compressed_tensors(tmp_path: Path, recipe: str) -> None:
    """Also from samples of one's own."""
    options = ["--calib", str(ROOT / "demo" / "pictures"), "--samples", "4"]
    said = run(DEMO_MODEL, tmp_path / "out", "--recipe", recipe, *options)
    assert "30 quantized to 4 bits" in said
    report = json.loads((tmp_path / "out" / "fovea-report.json").read_text())["quantize"]
    assert report["calibration"]["from"] == "own samples"
    command = [QUANTIZE_PYTHON, "-m", "tests.e2e.decompress", DEMO_MODEL, tmp_path / "out"]
    theirs = json.loads(subprocess.run(command, check=True, cwd=ROOT, capture_output=True).stdout)
    plan = plan_of(recipe)
    findings = verify_weights(plan, tmp_path / "out")
    ours = {found.name.removesuffix(PACKED): found.error for found in findings.quantized}
    assert ours.keys() == theirs.keys()
    norms = {fate.name for fate in plan.fates if fate.norm is not None}
    for name, error in ours.items():
        if name in norms:  # their columns are multiplied: only beside their norm are they the source's
            assert error < theirs[name]
        else:
            assert error == pytest.approx(theirs[name], rel=0.01)


@pytest.mark.parametrize("toy", ["moe", "dense-tied-fp16"])
def test_the_nearest_integers_need_no_samples(toys: Path, tmp_path: Path, toy: str) -> None:
    recipe = tmp_path / "nearest.yaml"
    recipe.write_text("{name: nearest, scheme: W4A16, group_size: 32, quantize: [self-attention, mlp]}")
    said = run(toys / toy, tmp_path / "out", "--recipe", str(recipe))
    assert "quantized to 4 bits" in said
    assert json.loads((tmp_path / "out" / "fovea-report.json").read_text())["quantize"]["calibration"] is None


def test_vllm_finds_the_same_tokens_likely_in_int8(int8: Path) -> None:
    verified = Running("quantize.cli", "verify", str(DEMO_MODEL), str(int8), "--serve")
    assert verified.finish(2 * ENGINE_START_S) == 0, verified.tail()
    assert "config parsed by compressed-tensors 0.17.0" in verified.output
    assert "tokens of 8 prompts are " in verified.output
