import pytest

from quantize.architecture import SIGHT, bundled_maps, read_architecture
from server.engine.encoder_cache.checkpoint import Tensor
from server.engine.encoder_cache.sight import FAMILIES, is_quantized, sight_of

LANGUAGE = (
    "layers.3.self_attn.q_proj.weight", "layers.3.mlp.up_proj.weight_scale", "layers.0.input_layernorm.weight",
    "norm.weight", "embed_tokens.weight",
)  # fmt: skip
# What is in such checkpoints, as published and as transformers saves them: (of the language model, of sight).
NAMES: dict[str, tuple[str, tuple[str, ...]]] = {
    "gemma3": ("language_model.model.", (
        "multi_modal_projector.mm_input_projection_weight", "vision_tower.encoder.layers.0.mlp.fc1.weight",
        "vision_tower.head.probe", "vision_tower.post_layernorm.weight")),
    "idefics3": ("model.text_model.", (
        "model.connector.modality_projection.proj.weight", "model.vision_model.encoder.layers.1.mlp.fc1.weight",
        "model.vision_model.post_layernorm.weight")),
    "internvl": ("language_model.model.", (
        "multi_modal_projector.layer_norm.weight", "vision_tower.encoder.layer.0.attention.q_proj.weight")),
    "internvl_chat": ("language_model.model.", ("mlp1.0.weight", "vision_model.encoder.layers.0.norm1.weight")),
    "llava": ("language_model.model.", ("image_newline", "vision_tower.encoder.layers.0.mlp.fc1.bias")),
    "mistral3": ("language_model.model.", (
        "multi_modal_projector.norm.weight", "vision_tower.transformer.layers.0.ffn_norm.weight")),
    "mllama": ("language_model.model.", (
        "vision_model.global_transformer.layers.0.gate_attn", "multi_modal_projector.bias")),
    "qwen2_5_vl": ("model.", ("visual.blocks.0.mlp.up_proj.weight", "visual.merger.ln_q.weight")),
    "qwen3_5": ("model.language_model.", ("model.visual.pos_embed.weight", "model.visual.merger.norm.bias")),
    "qwen3_vl_moe": ("model.language_model.", ("model.visual.deepstack_merger_list.0.norm.bias",)),
}  # fmt: skip
HEADS = ("lm_head.weight", "language_model.lm_head.weight", "mtp.layers.0.mlp.up_proj.weight")


def tensors(*names: str) -> list[Tensor]:
    return [Tensor(name, "BF16", (1,), 0, 2) for name in names]


@pytest.mark.parametrize("family", NAMES)
def test_what_is_left_is_sight_and_nothing_of_the_language_model(family: str) -> None:
    stem, sight = NAMES[family]
    everything = tensors(*sight, *(stem + name for name in LANGUAGE), *HEADS)
    assert [tensor.name for tensor in sight_of(everything, family, prunes_videos=False)] == list(sight)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_whatever_a_map_calls_sight_is_never_left_out(family: str) -> None:
    """By the maps of quantize, which sort the same names: all that any family has, against the family's own."""
    names = {
        name for stem, sight in NAMES.values() for name in (*sight, *(stem + each for each in LANGUAGE), *HEADS)
    }
    if family not in bundled_maps():
        assert family == "qwen2_vl"
        return
    architecture = read_architecture(bundled_maps()[family])
    left = {tensor.name for tensor in sight_of(tensors(*names), family, prunes_videos=False)}
    seen = {name for name in names if architecture.part_of(name) in (*SIGHT, None)}
    assert seen <= left


def test_every_family_that_is_quantized_is_known() -> None:
    assert bundled_maps().keys() <= FAMILIES


def test_of_an_unknown_family_everything_is_sight() -> None:
    everything = tensors("model.layers.0.mlp.up_proj.weight", "lm_head.weight")
    assert sight_of(everything, "phi9_v", prunes_videos=False) == everything


def test_pruned_videos_depend_on_the_embeddings_of_tokens() -> None:
    everything = tensors("model.language_model.embed_tokens.weight", "model.language_model.norm.weight")
    left = sight_of(everything, "qwen3_vl", prunes_videos=True)
    assert [tensor.name for tensor in left] == ["model.language_model.embed_tokens.weight"]


def test_a_tower_with_scales_or_codes_is_quantized() -> None:
    assert not is_quantized([("a.weight", "BF16"), ("logit_scale", "F32")])
    assert is_quantized([("a.weight", "F8_E4M3")])
    assert is_quantized([("a.weight_scale", "F32")])
