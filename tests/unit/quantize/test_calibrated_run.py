"""Calibrated recipes from plan to proof, with a stand-in for llm-compressor."""

import json
import math
import re
from pathlib import Path

import pytest

from quantize import run as runs
from quantize.architecture import find_architecture
from quantize.calibration import DrawnSamples
from quantize.card import write_card
from quantize.checkpoint import StoredTensor, read_config, read_tensors
from quantize.errors import PlanViolated, UsageError
from quantize.llm_compressor import name_rescaled
from quantize.manifest import update_report
from quantize.other_environments import find_interpreter
from quantize.plan import Plan, make_plan
from quantize.quantization_config import make_quantization_config
from quantize.recipe import Recipe, read_recipe
from quantize.show_plan import describe_findings, make_table
from quantize.verify import verify_files, verify_weights
from tests.fakes.compressor import install
from tests.unit.quantize.checkpoints import Tensor, weights, write_checkpoint, write_safetensors, write_shards

LAYER = "model.language_model.layers.1"
SHAPES = {
    "model.visual.blocks.1.attn.qkv.weight": (12, 128),
    "model.visual.layers.1.self_attn.q_proj.weight": (12, 128),
    "model.language_model.embed_tokens.weight": (10, 128),
    "model.language_model.layers.0.input_layernorm.weight": (128,),
    "model.language_model.layers.0.linear_attn.in_proj_qkv.weight": (24, 128),
    f"{LAYER}.input_layernorm.weight": (128,),
    f"{LAYER}.self_attn.q_proj.weight": (128, 128),
    f"{LAYER}.self_attn.k_proj.weight": (32, 128),
    f"{LAYER}.self_attn.v_proj.weight": (32, 128),
    f"{LAYER}.self_attn.o_proj.weight": (128, 128),
    f"{LAYER}.post_attention_layernorm.weight": (128,),
    f"{LAYER}.mlp.gate_proj.weight": (256, 128),
    f"{LAYER}.mlp.up_proj.weight": (256, 128),
    f"{LAYER}.mlp.down_proj.weight": (128, 256),
    "lm_head.weight": (10, 128),
}
MATRICES = [name for name in SHAPES if name.startswith(LAYER) and "norm" not in name]
RECIPES = ["w8a8-int8", "w4a16", "w4a16-awq"]


def wide_toy() -> dict[str, Tensor]:
    return {name: weights(name, *shape) for name, shape in SHAPES.items()}


def plan_of(source: Path, recipe: str | Recipe) -> Plan:
    chosen = read_recipe(recipe) if isinstance(recipe, str) else recipe
    return make_plan(source, chosen, find_architecture(read_config(source)))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_shards(tmp_path / "m", wide_toy(), 2)


def run(plan: Plan, folder: Path) -> Path:
    environ = {"FOVEA_QUANTIZE_PYTHON": install(folder)}
    runs.run_plan(plan, folder / "out", "llmcompressor", 1, True, environ, print, DrawnSamples(3))
    return folder / "out"


def overwrite(tensor: StoredTensor, data: bytes, at: int = 0) -> None:
    with tensor.file.open("rb+") as stream:
        stream.seek(tensor.start + at)
        stream.write(data)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_plan_knows_every_byte_beforehand(source: Path, tmp_path: Path, recipe: str) -> None:
    plan = plan_of(source, recipe)
    assert {fate.name for fate in plan.fates if fate.quantized} == set(MATRICES)
    rows = sum(SHAPES[name][0] for name in MATRICES)
    elements = sum(math.prod(SHAPES[name]) for name in MATRICES)
    packed = elements // 2 + elements // 128 * 2 + 16 * len(MATRICES)
    kept = sum(fate.source.size for fate in plan.fates if not fate.quantized)
    assert plan.after == kept + (elements + 2 * rows if recipe == "w8a8-int8" else packed)
    made = read_tensors(run(plan, tmp_path))
    assert sum(tensor.size for tensor in made.values()) == plan.after


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_is_proved_and_reports_what_it_was_shown(source: Path, tmp_path: Path, recipe: str) -> None:
    plan = plan_of(source, recipe)
    out = run(plan, tmp_path)
    findings = verify_weights(plan, out)
    assert [*findings.violations, *verify_files(plan, out)] == []
    norms = 0 if recipe == "w4a16" else 2
    assert (len(findings.quantized), findings.rescaled) == (len(MATRICES), norms)
    assert findings.kept == len(SHAPES) - len(MATRICES) - norms
    least, most = (0.001, 0.02) if recipe == "w8a8-int8" else (0.02, 0.2)
    assert all(least < each.error < most for each in findings.quantized)
    report = json.loads((out / "fovea-report.json").read_text())["quantize"]
    assert report["calibration"]["samples"] == 3
    assert report["engine"] == "llmcompressor"
    assert not [path for path in out.iterdir() if path.is_dir()]
    told = "\n".join(describe_findings(plan, findings))
    assert ("rescaled" in told) == (norms > 0)
    assert ("rescaled" in make_table(plan, tensors=True)) == (norms > 0)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_card_says_on_what_it_was_calibrated(source: Path, tmp_path: Path, recipe: str) -> None:
    out = run(plan_of(source, recipe), tmp_path)
    text = write_card(out, "toy", None).read_text()
    assert "\n\nCalibrated on 3 samples (drawn pictures).\n\n## What is proved\n\n- " in text
    assert f"{len(MATRICES)} matrices are {'INT8' if recipe == 'w8a8-int8' else '4-bit integers'} with one" in text
    assert ("2 norms are rescaled" in text) == (recipe != "w4a16")
    assert "\n\n\n" not in text
    assert ("  - int8" if recipe == "w8a8-int8" else "  - int4") in text.replace("\n- ", "\n  - ")
    own = {"from": "own samples", "samples": 2, "sha256": "ab" * 32}
    report = json.loads((out / "fovea-report.json").read_text())["quantize"]
    update_report(out, "quantize", {**report, "calibration": own})
    assert (
        f"Calibrated on 2 samples (own samples, SHA-256 `{'ab' * 32}`)." in write_card(out, "t", None).read_text()
    )


def test_llm_compressor_is_told_what_the_config_says(source: Path, tmp_path: Path) -> None:
    plan = plan_of(source, "w4a16")
    out = run(plan, tmp_path)
    job = json.loads((tmp_path / "job.json").read_text())
    config = read_config(out)["quantization_config"]
    assert config == make_quantization_config(plan)
    assert job["group"]["weights"] == config["config_groups"]["group_0"]["weights"]
    assert (
        job["group"]["weights"] | {"num_bits": 4, "group_size": 128, "actorder": "static"}
        == job["group"]["weights"]
    )
    assert config["format"] == "pack-quantized"
    assert config["config_groups"]["group_0"]["input_activations"] is None
    assert [sample["answer"] != "" for sample in job["shown"]] == [True] * 3


def test_only_norms_whose_readers_are_all_quantized_are_rescaled(source: Path) -> None:
    plan = plan_of(source, "w8a8-int8")
    assert {fate.name for fate in plan.fates if fate.readers} == {
        f"{LAYER}.input_layernorm.weight",
        f"{LAYER}.post_attention_layernorm.weight",
    }
    less = Recipe(name="x", scheme="W8A8", smoothing=0.5, quantize=("mlp",))
    assert {fate.name for fate in plan_of(source, less).fates if fate.readers} == {
        f"{LAYER}.post_attention_layernorm.weight"
    }
    assert not [fate for fate in plan_of(source, "w4a16").fates if fate.readers]


def test_rescaled_modules_are_named_by_layer_and_never_in_the_vision_tower(source: Path) -> None:
    (attention, mlp) = name_rescaled(plan_of(source, "w8a8-int8"))
    norm, readers = attention
    for prefix in ("model.language_model.", "language_model.model."):
        assert re.match(norm.removeprefix("re:"), f"{prefix}layers.1.input_layernorm")
        assert re.match(readers[0].removeprefix("re:"), f"{prefix}layers.1.self_attn.q_proj")
        assert not re.match(norm.removeprefix("re:"), f"{prefix}layers.0.input_layernorm")
        assert not re.match(norm.removeprefix("re:"), f"{prefix}layers.11.input_layernorm")
    assert not re.match(readers[0].removeprefix("re:"), "model.visual.layers.1.self_attn.q_proj")
    assert mlp[0].endswith("post_attention_layernorm$")


def test_a_router_keeps_its_norm_as_it_is(tmp_path: Path) -> None:
    tensors = {name: tensor for name, tensor in wide_toy().items() if ".mlp." not in name}
    tensors |= {
        f"{LAYER}.mlp.gate.weight": weights("g", 2, 128),
        f"{LAYER}.mlp.experts.gate_up_proj": weights("e", 2, 256, 128),
        f"{LAYER}.mlp.experts.down_proj": weights("d", 2, 128, 128),
    }
    plan = plan_of(write_checkpoint(tmp_path / "moe", tensors, model_type="qwen3_5_moe"), "w8a8-int8")
    assert {fate.name for fate in plan.fates if fate.readers} == {f"{LAYER}.input_layernorm.weight"}


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_calibration_did_wrong_is_found(source: Path, tmp_path: Path, recipe: str) -> None:
    plan = plan_of(source, recipe)
    out = run(plan, tmp_path)
    made = read_tensors(out)
    packed = "_packed" if recipe != "w8a8-int8" else ""
    codes = made[f"{LAYER}.mlp.up_proj.weight{packed}"]
    before = codes.read()

    def violations() -> str:
        return "\n".join(verify_weights(plan, out).violations)

    row = codes.size // 256
    overwrite(codes, (b"\x88" if packed else b"\0") * row)
    assert "up_proj.weight" in violations()
    assert "1 rows became zero" in violations()
    overwrite(codes, before[::-1])
    assert "away from its source" in violations()
    overwrite(codes, before)
    scale = made[f"{LAYER}.mlp.up_proj.weight_scale"]
    first = scale.read()[:4]
    overwrite(scale, b"\x80\x7f\x00\x00")  # infinity and zero
    assert "2 scales are not positive numbers" in violations()
    overwrite(scale, first)
    assert violations() == ""
    if packed:
        overwrite(made[f"{LAYER}.mlp.up_proj.weight_shape"], b"\x01")
        assert "the shape beside it is not its own" in violations()
    else:
        norm = made[f"{LAYER}.post_attention_layernorm.weight"]
        overwrite(norm, read_tensors(source)[f"{LAYER}.post_attention_layernorm.weight"].read())
        assert "gate_proj.weight: is " in violations()


def test_a_changed_norm_that_was_not_to_be_rescaled_is_found(source: Path, tmp_path: Path) -> None:
    plan = plan_of(source, "w8a8-int8")
    out = run(plan, tmp_path)
    overwrite(read_tensors(out)["model.language_model.layers.0.input_layernorm.weight"], b"\x01")
    assert verify_weights(plan, out).violations == [
        "model.language_model.layers.0.input_layernorm.weight: must be untouched, but changed"
    ]


def test_a_run_that_comes_back_far_from_its_source_is_not_published(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quantize.proof_of_integers.MOST_ERROR", {"W4A16": 0.01})
    with pytest.raises(PlanViolated, match=r"q_proj\.weight_packed: is \d+% away from its source"):
        run(plan_of(source, "w4a16"), tmp_path)
    assert not (tmp_path / "out").exists()


def test_only_fp8_streams() -> None:
    assert runs.choose_engine(read_recipe("fp8-dynamic"), None) == "stream"
    assert runs.choose_engine(read_recipe("fp8-dynamic"), "llmcompressor") == "llmcompressor"
    assert runs.choose_engine(read_recipe("w4a16"), None) == "llmcompressor"
    with pytest.raises(UsageError, match="--engine stream writes FP8 only: w4a16 needs llmcompressor"):
        runs.choose_engine(read_recipe("w4a16"), "stream")


def test_a_norm_of_another_type_is_one_sentence_too(source: Path, tmp_path: Path) -> None:
    plan = plan_of(source, "w8a8-int8")
    out = run(plan, tmp_path)
    name = f"{LAYER}.input_layernorm.weight"
    tensors = {each: (t.dtype, t.shape, t.read()) for each, t in read_tensors(out).items()}
    write_safetensors(out / "model.safetensors", {**tensors, name: ("F32", (128,), bytes(512))})
    violations = verify_weights(plan, out).violations
    assert f"{name}: has another type or shape than promised" in violations
    assert any("q_proj.weight: is " in each for each in violations)


def test_an_interpreter_that_is_not_there_is_one_sentence(source: Path, tmp_path: Path) -> None:
    for variable in ("FOVEA_QUANTIZE_PYTHON", "FOVEA_ENGINE_PYTHON"):
        with pytest.raises(UsageError, match=f"{variable}=/nowhere/python: no such interpreter"):
            find_interpreter("torch", variable, "engine", {variable: "/nowhere/python"})
