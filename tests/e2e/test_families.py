"""Every architecture map against transformers and llm-compressor: the same tensors, bit for bit."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from quantize import run as runs
from quantize.architecture import bundled_maps, find_architecture
from quantize.checkpoint import read_config, read_tensors
from quantize.llm_compressor import make_job
from quantize.other_environments import tool_environment
from quantize.plan import Plan, make_plan
from quantize.recipe import Recipe, read_recipe
from quantize.verify import verify_weights
from server.engine.encoder_cache.fingerprint import vision_fingerprint
from server.engine.encoder_cache.tower_digests import digest_sight
from tests.conftest import ROOT
from tests.e2e.conftest import QUANTIZE_PYTHON

NAMES = [
    "gemma3", "idefics3", "internvl", "llava", "llava_next", "mistral3", "mllama", "qwen2_5_vl", "qwen3_vl",
    "qwen3_vl_moe", "qwen3_vl_moe_as_published", "smolvlm",
]  # fmt: skip
RECIPES = {
    "fp8": read_recipe("fp8-dynamic"),
    "int8": Recipe(name="int8", scheme="W8A8", quantize=("self-attention", "mlp")),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FAMILY is the model, FAMILY-RECIPE what llm-compressor makes of it."""
    folder = tmp_path_factory.mktemp("families")
    environ = tool_environment(os.environ)
    subprocess.run([QUANTIZE_PYTHON, "-m", "tests.e2e.make_families", folder], check=True, cwd=ROOT, env=environ)
    jobs = [
        (str(folder / name), str(folder / f"{name}-{short}"), make_job(plan_of(folder / name, recipe), None))
        for name in NAMES
        for short, recipe in RECIPES.items()
    ]
    command = [QUANTIZE_PYTHON, "-m", "tests.e2e.compress_many"]
    subprocess.run(command, check=True, cwd=ROOT, env=environ, input=json.dumps(jobs).encode())
    return folder


def plan_of(source: Path, recipe: Recipe) -> Plan:
    return make_plan(source, recipe, find_architecture(read_config(source)))


def test_every_map_has_its_toy() -> None:
    elsewhere = {"qwen3_5", "qwen3_5_moe"}  # tests/e2e/test_against_llm_compressor.py
    other_spellings = {"internvl_chat"}  # its authors' own form: transformers saves the other
    assert set(NAMES) - {"qwen3_vl_moe_as_published"} == bundled_maps().keys() - elsewhere - other_spellings


@pytest.mark.parametrize("name", NAMES)
def test_the_streaming_writer_makes_what_oneshot_makes(made: Path, tmp_path: Path, name: str) -> None:
    plan = plan_of(made / name, RECIPES["fp8"])
    runs.run_plan(plan, tmp_path / "out", "stream", 1, True, {}, lambda _: None)
    ours, theirs = read_tensors(tmp_path / "out"), read_tensors(made / f"{name}-fp8")
    assert ours.keys() == theirs.keys()
    assert [tensor for tensor in ours if not ours[tensor].equals(theirs[tensor])] == []
    kept = {fate.part for fate in plan.fates if not fate.quantized}
    assert {"vision", "connector"} <= kept
    assert ("cross-attention" in kept) == (name == "mllama")


@pytest.mark.parametrize("name", NAMES)
def test_every_family_keeps_its_namespace_of_embeddings(made: Path, tmp_path: Path, name: str) -> None:
    """What the map calls sight is hashed, and none of the layers that are quantized."""
    plan = plan_of(made / name, RECIPES["fp8"])
    runs.run_plan(plan, tmp_path / "out", "stream", 1, True, {}, lambda _: None)
    ours, theirs = (vision_fingerprint(path, "bfloat16", {}) for path in (made / name, tmp_path / "out"))
    assert ours == theirs
    sight = {fate.name for fate in plan.fates if fate.part in ("vision", "connector")}
    family = read_config(made / name)["model_type"]
    assert {tensor.name for tensor, _ in digest_sight(made / name, family, False, tmp_path)} == sight


@pytest.mark.parametrize("name", NAMES)
def test_the_nearest_int8_is_proved_of_every_family(made: Path, name: str) -> None:
    plan = plan_of(made / name, RECIPES["int8"])
    findings = verify_weights(plan, made / f"{name}-int8")
    assert findings.violations == []
    assert all(0 < found.error < 0.02 for found in findings.quantized)
