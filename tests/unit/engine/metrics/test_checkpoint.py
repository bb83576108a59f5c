import json
from pathlib import Path
from typing import Any

import pytest

from server.engine.encoder_cache.checkpoint import INDEX
from server.engine.metrics.checkpoint import REPORT, Checkpoint, component_of, ratios_of
from tests.unit.engine.encoder_cache.toy_checkpoint import write_file, write_toy

NAMES = {
    "vision": [
        "model.visual.blocks.0.attn.qkv.weight", "visual.merger.ln_q.weight", "vision_tower.vision_model.head.bias",
        "model.vision_tower.patch_conv.weight", "multi_modal_projector.linear_1.weight", "model.image_newline",
        "model.connector.modality_projection.proj.weight", "mlp1.0.weight", "vision_model.encoder.layers.0.ls1",
    ],
    "language": [
        "model.language_model.layers.0.mlp.up_proj.weight", "model.layers.0.self_attn.q_proj.weight",
        "language_model.model.norm.weight", "model.layers.3.cross_attn.q_proj.weight",
    ],
    "lm_head": ["lm_head.weight", "lm_head.weight_scale", "language_model.lm_head.weight"],
    "embeddings": ["model.embed_tokens.weight", "model.language_model.embed_tokens.weight"],
    "mtp": ["mtp.fc.weight", "mtp.layers.0.mlp.up_proj.weight"],
}  # fmt: skip


@pytest.mark.parametrize(("component", "name"), [(key, name) for key, names in NAMES.items() for name in names])
def test_tensors_are_told_apart_by_their_names(component: str, name: str) -> None:
    assert component_of(name) == component


def read(folder: Path) -> Any:
    return Checkpoint("m", str(folder), None, {}).read()


@pytest.mark.parametrize("shards", [1, 3])
def test_bytes_are_added_up_by_component_and_by_type(tmp_path: Path, shards: int) -> None:
    found = read(write_toy(tmp_path / "toy", shards))
    parts = {"vision": 8, "language": 8, "embeddings": 4, "lm_head": 4, "mtp": 4}
    assert found["fovea_weights_bytes"] == {("m", part): size for part, size in parts.items()}
    assert found["fovea_checkpoint_bytes"] == {("m", "bf16"): 28}


def test_the_same_weights_in_another_layout_count_once(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "toy")
    write_file(folder / "consolidated.safetensors", {"layers.0.weight": b"MORE"})
    assert sum(read(folder)["fovea_checkpoint_bytes"].values()) == 28


@pytest.mark.parametrize("damage", ["no such folder", "cut short", "bad index"])
def test_weights_that_cannot_be_read_are_left_out(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "toy"
    if damage != "no such folder":
        write_toy(folder)
    if damage == "cut short":
        (folder / "model.safetensors").write_bytes(b"\xff")
    if damage == "bad index":
        (folder / INDEX).write_text("[]")
    assert "fovea_weights_bytes" not in read(folder)


def test_a_plain_checkpoint_has_no_recipe_and_no_report(tmp_path: Path) -> None:
    found = read(write_toy(tmp_path / "toy"))
    assert found["fovea_checkpoint_info"] == {("m", "none", "none", "none"): 1}
    assert found["fovea_sight_report"] == {("m",): 0}
    assert found["fovea_sight_correct_ratio"] == {}


def group(skill: str, level: str, base: float, candidate: float) -> dict[str, Any]:
    sides = {"base": {"accuracy": {"value": base}}, "candidate": {"accuracy": {"value": candidate}}}
    return {"skill": skill, "level": level, **sides}


SIGHT = {
    "verdict": "green",
    "report": {
        "groups": [group("ocr", "easy", 0.9, 0.8), group("ocr", "all", 0.7, 0.6), group("grid", "any", 1, 1)]
    },
}
MADE = {"recipe": {"name": "fp8-dynamic"}, "proof": {"tensors": 5}}
QUANTIZED = {"quantization_config": {"quant_method": "compressed-tensors"}}


@pytest.mark.parametrize(
    ("report", "kind", "passes"),
    [
        ({"quantize": MADE, "sight": SIGHT}, "gated", 1),
        ({"quantize": MADE, "sight": {**SIGHT, "verdict": "red"}}, "gated", 0),
        ({"quantize": MADE}, "verified", 0),
        ({"quantize": {**MADE, "proof": None}}, "unverified", 0),
    ],
)
def test_a_reports_verdict_is_told(tmp_path: Path, report: dict[str, Any], kind: str, passes: int) -> None:
    folder = write_toy(tmp_path / "toy", config=QUANTIZED)
    (folder / REPORT).write_text(json.dumps(report))
    found = read(folder)
    assert found["fovea_checkpoint_info"] == {("m", "fp8-dynamic", "compressed-tensors", kind): 1}
    assert found["fovea_sight_report"] == {("m",): passes}


def test_a_skills_ratio_is_that_over_all_levels_or_of_its_only_one() -> None:
    assert ratios_of(SIGHT) == {
        ("ocr", "base"): 0.7,
        ("ocr", "quantized"): 0.6,
        ("grid", "base"): 1.0,
        ("grid", "quantized"): 1.0,
    }


def test_a_verdict_that_comes_while_the_checkpoint_is_served_is_told(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "toy")
    checkpoint = Checkpoint("m", str(folder), None, {})
    assert checkpoint.read()["fovea_sight_report"] == {("m",): 0}
    (folder / REPORT).write_text(json.dumps({"sight": SIGHT}))
    assert checkpoint.read()["fovea_sight_report"] == {("m",): 1}
    (folder / REPORT).unlink()
    assert checkpoint.read()["fovea_sight_report"] == {("m",): 0}


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"sight": 5, "quantize": []}', '{"sight": {"report": {"groups": 5}}}']
)
def test_a_report_that_is_none_is_no_report(tmp_path: Path, text: str) -> None:
    folder = write_toy(tmp_path / "toy")
    (folder / REPORT).write_text(text)
    found = read(folder)
    assert found["fovea_checkpoint_info"] == {("m", "none", "none", "none"): 1}
    assert found["fovea_sight_report"] == {("m",): 0}
