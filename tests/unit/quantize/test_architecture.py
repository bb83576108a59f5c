"""Names are those of the published checkpoints, or of transformers 5.17 where it saves others."""

import re
from pathlib import Path

import pytest

from quantize.architecture import bundled_maps, find_architecture, read_architecture
from quantize.errors import RecipeError, UnsupportedArchitecture

LANGUAGE = {
    "embed_tokens.weight": "embeddings",
    "layers.1.self_attn.q_proj.weight": "self-attention",
    "layers.1.self_attn.q_proj.bias": "self-attention",
    "layers.1.self_attn.o_proj.weight": "self-attention",
    "layers.1.mlp.gate_proj.weight": "mlp",
    "layers.1.mlp.down_proj.weight": "mlp",
    "layers.1.input_layernorm.weight": "norms",
    "layers.1.post_attention_layernorm.weight": "norms",
    "norm.weight": "norms",
}
QWEN_VISION = {
    "patch_embed.proj.weight": "vision",
    "pos_embed.weight": "vision",
    "blocks.3.attn.qkv.weight": "vision",
    "blocks.3.norm1.weight": "vision",
}
TOWER = {
    "encoder.layers.3.self_attn.q_proj.weight": "vision",
    "encoder.layers.3.mlp.fc1.weight": "vision",
    "encoder.layers.3.layer_norm1.weight": "vision",
}
EXPERTS = {
    "layers.1.mlp.gate.weight": "gates",
    "layers.1.mlp.experts.gate_up_proj": "mlp",
    "layers.1.mlp.experts.7.down_proj.weight": "mlp",
    "layers.1.self_attn.k_norm.weight": "norms",
}
FAMILIES: dict[str, list[tuple[str, dict[str, str]]]] = {
    "qwen3_5": [
        ("model.language_model.", LANGUAGE),
        ("model.visual.", QWEN_VISION),
        (
            "",
            {
                "model.visual.merger.linear_fc1.weight": "connector",
                "model.visual.merger.norm.weight": "connector",
                "model.language_model.layers.0.linear_attn.in_proj_qkv.weight": "linear-attention",
                "model.language_model.layers.0.linear_attn.conv1d.weight": "linear-attention",
                "model.language_model.layers.0.linear_attn.in_proj_a.weight": "gates",
                "model.language_model.layers.0.linear_attn.norm.weight": "norms",
                "mtp.layers.0.self_attn.q_proj.weight": "mtp",
                "mtp.fc.weight": "mtp",
                "lm_head.weight": "lm_head",
            },
        ),
    ],
    "qwen3_5_moe": [
        ("model.language_model.", EXPERTS),
        (
            "model.language_model.layers.1.mlp.",
            {"shared_expert.up_proj.weight": "mlp", "shared_expert_gate.weight": "gates"},
        ),
    ],
    "qwen3_vl": [
        ("model.language_model.", LANGUAGE),
        ("model.visual.", {**QWEN_VISION, "deepstack_merger_list.2.linear_fc1.weight": "connector"}),
    ],
    "qwen3_vl_moe": [("model.language_model.", EXPERTS), ("model.visual.", QWEN_VISION)],
    "qwen2_5_vl": [
        ("model.", LANGUAGE),
        ("visual.", {"merger.mlp.0.weight": "connector", "blocks.1.mlp.gate_proj.weight": "vision"}),
    ],
    "gemma3": [
        ("language_model.model.", {**LANGUAGE, "layers.1.pre_feedforward_layernorm.weight": "norms"}),
        ("vision_tower.vision_model.", TOWER),
        (
            "multi_modal_projector.",
            {"mm_input_projection_weight": "connector", "mm_soft_emb_norm.weight": "connector"},
        ),
    ],
    "llava": [
        ("language_model.model.", LANGUAGE),
        ("vision_tower.vision_model.", TOWER),
        (
            "vision_tower.transformer.layers.0.",
            {"attention.q_proj.weight": "vision", "attention_norm.weight": "vision"},
        ),
        ("", {"multi_modal_projector.linear_1.weight": "connector", "language_model.lm_head.weight": "lm_head"}),
    ],
    "llava_next": [("model.language_model.", LANGUAGE), ("", {"image_newline": "connector"})],
    "mllama": [
        ("language_model.model.", LANGUAGE),
        (
            "language_model.model.layers.3.",
            {
                "cross_attn.q_proj.weight": "cross-attention",
                "cross_attn.k_norm.weight": "cross-attention",
                "cross_attn_attn_gate": "gates",
                "mlp.up_proj.weight": "mlp",
            },
        ),
        ("vision_model.", {"global_transformer.layers.0.gate_attn": "vision", "layernorm_pre.weight": "vision"}),
        ("", {"multi_modal_projector.weight": "connector"}),
    ],
    "internvl": [
        ("model.language_model.", LANGUAGE),
        ("model.vision_tower.encoder.layer.0.", {"lambda_1": "vision", "attention.q_proj.weight": "vision"}),
        ("model.multi_modal_projector.", {"layer_norm.weight": "connector", "linear_1.weight": "connector"}),
    ],
    "internvl_chat": [
        ("language_model.model.", LANGUAGE),
        ("", {"mlp1.1.weight": "connector", "vision_model.encoder.layers.0.attn.qkv.weight": "vision"}),
    ],
    "mistral3": [
        ("language_model.model.", LANGUAGE),
        ("multi_modal_projector.", {"patch_merger.merging_layer.weight": "connector", "norm.weight": "connector"}),
        ("vision_tower.", {"patch_conv.weight": "vision", "ln_pre.weight": "vision"}),
    ],
    "idefics3": [
        ("model.text_model.", LANGUAGE),
        ("model.vision_model.", TOWER),
        ("model.connector.", {"modality_projection.proj.weight": "connector"}),
    ],
    "smolvlm": [
        ("model.text_model.", LANGUAGE),
        ("model.connector.", {"modality_projection.proj.weight": "connector"}),
    ],
}


def test_every_map_is_put_to_the_test() -> None:
    assert FAMILIES.keys() == bundled_maps().keys()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_part_of_a_family_is_known_by_its_published_names(family: str) -> None:
    architecture = find_architecture({"model_type": family})
    for prefix, names in FAMILIES[family]:
        assert {name: architecture.part_of(prefix + name) for name in names} == names


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("prefix", ["language_model.model.", "model.language_model.", "model."])
def test_what_tells_vllm_to_keep_sight_leaves_the_language_model_alone(family: str, prefix: str) -> None:
    """The same regexes, as vLLM matches them: from the start of a module's name."""
    architecture = find_architecture({"model_type": family})
    kept = [
        pattern
        for part in ("vision", "connector", "cross-attention", "gates", "lm_head", "mtp", "linear-attention")
        for pattern in architecture.patterns(part)  # type: ignore[arg-type]
    ]
    for module in ("layers.1.self_attn.q_proj", "layers.1.mlp.gate_proj", "layers.1.mlp.experts.3.down_proj"):
        assert not [pattern for pattern in kept if re.match(pattern, prefix + module)]
    assert [pattern for pattern in kept if re.match(pattern, "language_model.lm_head")]


def test_an_unknown_architecture_is_refused_with_what_is_missing() -> None:
    with pytest.raises(
        UnsupportedArchitecture, match="no architecture map for model_type 'seer': there are gemma3, "
    ):
        find_architecture({"model_type": "seer"})


def test_a_map_of_ones_own_extends_a_bundled_one(tmp_path: Path) -> None:
    own = tmp_path / "seer.yaml"
    own.write_text("model_types: [seer]\nextends: language_model\nparts:\n  - vision: 'eye.*'\n")
    architecture = find_architecture({"model_type": "seer"}, own)
    assert architecture.part_of("eye.0.weight") == "vision"
    assert architecture.part_of("model.layers.0.mlp.up_proj.weight") == "mlp"
    assert architecture.part_of("ear.0.weight") is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("parts: 3", "parts"),
        ("parts: [{eyes: 'x'}]", "parts"),
        ("parts: [{vision: '('}]", "is not a regex"),
        ("{parts: [], more: 1}", "more"),
        ("{", "not readable YAML"),
        ("{parts: [], extends: nothing}", "no map 'nothing'"),
    ],
)
def test_a_wrong_map_is_refused_by_name(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(content)
    with pytest.raises(RecipeError, match=rf"own\.yaml.*{re.escape(said)}"):
        read_architecture(path)
