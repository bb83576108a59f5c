import json
from pathlib import Path

import pytest

from loadtest.qwen3_5_shapes import qwen3_5_9b
from quantize.architecture import find_architecture, read_architecture
from quantize.checkpoint import read_config
from quantize.errors import RecipeError, UnsupportedArchitecture, UnsupportedCheckpoint, WrongDtype
from quantize.plan import Plan, make_plan, sum_by_part
from quantize.quantization_config import make_quantization_config
from quantize.recipe import Recipe, read_recipe
from quantize.show_plan import make_json, make_table
from tests.unit.quantize.checkpoints import LAYER, toy, weights, write_checkpoint, write_hollow


def plan_of(folder: Path, recipe: str | Recipe = "fp8-dynamic") -> Plan:
    chosen = read_recipe(recipe) if isinstance(recipe, str) else recipe
    return make_plan(folder, chosen, find_architecture(read_config(folder)))


def write_qwen3_5_9b(folder: Path, mtp: bool = False) -> Path:
    """Headers alone, as they are published, in four files."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3_5", "tie_word_embeddings": False}))
    shapes = qwen3_5_9b(mtp)
    names, files = list(shapes), {}
    for number in range(4):
        file = f"model-{number + 1:05}-of-00004.safetensors"
        mine = names[number::4]
        write_hollow(folder / file, [(name, "BF16", shapes[name]) for name in mine])
        files |= dict.fromkeys(mine, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    return folder


@pytest.mark.parametrize(
    ("recipe", "gigabytes"),
    [
        ("fp8-dynamic", 13.52),
        ("fp8-dynamic-balanced", 11.91),
        ("fp8-dynamic-compact", 10.89),
        ("w8a8-int8", 13.52),
        ("w4a16", 10.95),
    ],
)
def test_qwen3_5_9b_shrinks_as_was_computed(tmp_path: Path, recipe: str, gigabytes: float) -> None:
    plan = plan_of(write_qwen3_5_9b(tmp_path / "9b"), recipe)
    assert (round(plan.before / 1e9, 2), round(plan.after / 1e9, 2)) == (18.82, gigabytes)
    assert plan.after < plan.file_bytes < plan.after * 1.005
    parts = sum_by_part(plan)
    assert parts["vision"].before == parts["vision"].after
    assert sum(part.before for part in parts.values()) == plan.before
    assert sum(part.after for part in parts.values()) == plan.after


def test_the_mtp_head_is_kept_and_counted_apart(tmp_path: Path) -> None:
    mtp = sum_by_part(plan_of(write_qwen3_5_9b(tmp_path / "9b", mtp=True)))["mtp"]
    assert (mtp.tensors, mtp.quantized, round(mtp.before / 1e9, 2), mtp.after) == (15, 0, 0.49, mtp.before)
    assert mtp.reasons == ("drafts for the rest",)


def test_every_tensor_has_its_fate_and_a_reason(tmp_path: Path) -> None:
    plan = plan_of(write_checkpoint(tmp_path / "m", toy()))
    assert {fate.name for fate in plan.fates} == toy().keys()
    assert all(fate.reason for fate in plan.fates)
    quantized = {fate.name for fate in plan.fates if fate.quantized}
    assert quantized == {f"{LAYER}.self_attn.{of}_proj.weight" for of in "qkvo"} | {
        f"{LAYER}.mlp.{of}_proj.weight" for of in ("gate", "up", "down")
    }


def test_gates_and_convolutions_of_linear_attention_stay_when_it_is_quantized(tmp_path: Path) -> None:
    fates = {
        fate.name: fate for fate in plan_of(write_checkpoint(tmp_path / "m", toy()), "fp8-dynamic-compact").fates
    }
    names = {name for name, fate in fates.items() if fate.quantized and ".linear_attn." in name}
    assert names == {f"{LAYER}.linear_attn.in_proj_qkv.weight", f"{LAYER}.linear_attn.in_proj_z.weight"}
    assert fates["lm_head.weight"].quantized
    assert fates[f"{LAYER}.linear_attn.conv1d.weight"].reason == "not a matrix that tokens are multiplied with"


def test_vllm_is_told_what_stays_in_regexes(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", toy())
    ignore = plan_of(folder).ignore
    assert all(pattern.startswith("re:") for pattern in ignore)
    assert {"re:.*visual.*", "re:.*lm_head.*", "re:.*linear_attn.*", "re:mtp.*"} <= set(ignore)
    assert not [pattern for pattern in ignore if "self_attn" in pattern or "embed" in pattern or "norm" in pattern]
    compact = plan_of(folder, "fp8-dynamic-compact")
    assert "re:.*lm_head.*" not in compact.ignore
    group = make_quantization_config(compact)["config_groups"]["group_0"]
    assert group["targets"] == ["Linear", "re:.*lm_head"]


def test_a_tied_head_is_kept_whatever_the_recipe_says(tmp_path: Path) -> None:
    tensors = toy()
    del tensors["lm_head.weight"]
    plan = plan_of(write_checkpoint(tmp_path / "m", tensors), "fp8-dynamic-compact")
    assert "re:.*lm_head.*" in plan.ignore
    assert make_quantization_config(plan)["config_groups"]["group_0"]["targets"] == ["Linear"]
    assert "lm_head is the embeddings here (tied): it is kept" in make_table(plan, tensors=False)


def test_a_recipes_own_ignores_are_kept_and_passed_on(tmp_path: Path) -> None:
    recipe = Recipe(name="x", scheme="FP8_DYNAMIC", quantize=("mlp",), ignore=(r"re:.*down_proj.*",))
    plan = plan_of(write_checkpoint(tmp_path / "m", toy()), recipe)
    reasons = {fate.name: fate.reason for fate in plan.fates}
    assert reasons[f"{LAYER}.mlp.down_proj.weight"] == r"kept by the recipe's re:.*down_proj.*"
    assert plan.ignore[-1] == r"re:.*down_proj.*"


def test_a_recipe_must_not_split_what_vllm_loads_as_one(tmp_path: Path) -> None:
    recipe = Recipe(name="x", scheme="FP8_DYNAMIC", quantize=("self-attention",), ignore=(r"re:.*k_proj.*",))
    with pytest.raises(RecipeError, match=r"splits .*q_proj and self_attn\.k_proj, which vLLM loads as one"):
        plan_of(write_checkpoint(tmp_path / "m", toy()), recipe)


def test_a_tensor_that_no_map_knows_is_not_guessed(tmp_path: Path) -> None:
    tensors = {**toy(), "model.ear.weight": weights("ear", 2, 2)}
    with pytest.raises(UnsupportedArchitecture, match=r"does not say what 1 tensors .* such as model\.ear\.weight"):
        plan_of(write_checkpoint(tmp_path / "m", tensors))


def test_a_recipe_takes_16_bit_weights_only(tmp_path: Path) -> None:
    with pytest.raises(
        WrongDtype, match=r"self_attn\.q_proj\.weight is F32: fp8-dynamic takes BF16 or F16 weights"
    ):
        plan_of(write_checkpoint(tmp_path / "m", toy("F32")))


def test_nothing_to_quantize_is_said(tmp_path: Path) -> None:
    only = {"model.visual.fc.weight": weights("v", 2, 2)}
    with pytest.raises(UnsupportedCheckpoint, match="has nothing that fp8-dynamic quantizes"):
        plan_of(write_checkpoint(tmp_path / "m", only))


def test_an_empty_matrix_is_copied(tmp_path: Path) -> None:
    name = "model.language_model.layers.1.mlp.up_proj.weight"
    plan = plan_of(write_checkpoint(tmp_path / "m", {**toy(), name: ("BF16", (0, 8), b"")}))
    (fate,) = [fate for fate in plan.fates if fate.name == name]
    assert (fate.quantized, fate.after) == (False, 0)


def test_fused_experts_that_are_not_two_halves_are_refused(tmp_path: Path) -> None:
    tensors = {**toy(), f"{LAYER}.mlp.experts.gate_up_proj": weights("e", 2, 7, 8)}
    folder = write_checkpoint(tmp_path / "m", tensors, model_type="qwen3_5_moe")
    with pytest.raises(UnsupportedCheckpoint, match="does not hold as many rows of gate_proj as of up_proj: 7"):
        plan_of(folder)


def test_fused_experts_need_a_map_that_says_how_they_lie(tmp_path: Path) -> None:
    tensors = {**toy(), f"{LAYER}.mlp.experts.gate_up_proj": weights("e", 2, 8, 8)}
    folder, own = write_checkpoint(tmp_path / "m", tensors), tmp_path / "own.yaml"
    own.write_text(
        "extends: language_model\nparts: [{vision: '.*visual.*'}, {linear-attention: '.*linear.*'}, {mtp: mtp}]"
    )
    with pytest.raises(UnsupportedArchitecture, match="fused_experts: rows or columns"):
        make_plan(folder, read_recipe("fp8-dynamic"), read_architecture(own))


@pytest.mark.parametrize(("shape", "layout"), [((2, 8, 6), "rows"), ((2, 6, 8), "columns")])
def test_how_experts_lie_is_read_off_their_widths(tmp_path: Path, shape: tuple[int, ...], layout: str) -> None:
    tensors = {**toy(), f"{LAYER}.mlp.experts.down_proj": weights("d", *shape)}
    text = {"hidden_size": 8, "moe_intermediate_size": 6}
    for model_type in ("qwen3_5_moe", "qwen3_vl_moe"):
        kept = {name: tensor for name, tensor in tensors.items() if "linear_attn" not in name and "mtp" not in name}
        folder = write_checkpoint(tmp_path / model_type, kept, model_type=model_type, text_config=text)
        plan = plan_of(folder)
        assert plan.architecture.fused_experts == layout
        (fate,) = [fate for fate in plan.fates if "experts" in fate.name]
        assert fate.outputs[0].shape == (8, 6)


def test_experts_of_other_widths_than_the_config_says_are_refused(tmp_path: Path) -> None:
    tensors = {**toy(), f"{LAYER}.mlp.experts.down_proj": weights("d", 2, 8, 7)}
    text = {"hidden_size": 8, "moe_intermediate_size": 6}
    folder = write_checkpoint(tmp_path / "m", tensors, model_type="qwen3_5_moe", text_config=text)
    with pytest.raises(UnsupportedCheckpoint, match=r"is 8x7 an expert, but config\.json says 8 and 6"):
        plan_of(folder)


def test_the_same_is_said_to_people_and_programs(tmp_path: Path) -> None:
    plan = plan_of(write_checkpoint(tmp_path / "m", toy()))
    told = json.loads(make_json(plan))
    assert (told["bytes_before"], told["bytes_after"]) == (plan.before, plan.after)
    assert {each["name"]: each["fate"] for each in told["tensors"]}[f"{LAYER}.mlp.up_proj.weight"] == "quantize"
    lines = make_table(plan, tensors=True).splitlines()
    assert any(
        line.startswith("model.visual.blocks.0.attn.qkv.weight ") and "sight stays" in line for line in lines
    )
    assert [line for line in lines if line.startswith("7 tensors are quantized, 13 kept")]
