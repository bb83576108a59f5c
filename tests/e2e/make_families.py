"""A small model of every family that has an architecture map: `python -m tests.e2e.make_families FOLDER`.

Random weights, as transformers saves them; `make_toys` has Qwen3.5. Runs where transformers is.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from quantize.torchvision_on_cpu import allow_torchvision

allow_torchvision()

TEXT: dict[str, Any] = {
    "vocab_size": 128, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
MROPE = {"rope_parameters": {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 1e4}}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48}
VISION: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
    "patch_size": 16,
}  # fmt: skip
QWEN_VISION: dict[str, Any] = {
    "depth": 2, "hidden_size": 64, "intermediate_size": 96, "num_heads": 2, "out_hidden_size": 64,
}  # fmt: skip
QWEN3_VISION = {**QWEN_VISION, "deepstack_visual_indexes": [0], "num_position_embeddings": 64}
MLLAMA_VISION: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_global_layers": 1,
    "attention_heads": 2, "image_size": 32, "patch_size": 16, "vision_output_dim": 128,
    "intermediate_layers_indices": [0],
}  # fmt: skip
LLAMA, CLIP = {"model_type": "llama"}, {"model_type": "clip_vision_model", "projection_dim": 64}

FAMILIES: dict[str, tuple[type[Any], type[Any], dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "gemma3": (hf.Gemma3ForConditionalGeneration, hf.Gemma3Config, {"head_dim": 32}, VISION, {}),
    "idefics3": (hf.Idefics3ForConditionalGeneration, hf.Idefics3Config, LLAMA, VISION, {"pad_token_id": 0}),
    "internvl": (
        hf.InternVLForConditionalGeneration,
        hf.InternVLConfig,
        {"model_type": "qwen2"},
        {**VISION, "image_size": [32, 32], "patch_size": [16, 16]},
        {},
    ),
    "llava": (hf.LlavaForConditionalGeneration, hf.LlavaConfig, LLAMA, {**VISION, **CLIP}, {}),
    "llava_next": (hf.LlavaNextForConditionalGeneration, hf.LlavaNextConfig, LLAMA, {**VISION, **CLIP}, {}),
    "mistral3": (
        hf.Mistral3ForConditionalGeneration,
        hf.Mistral3Config,
        {"model_type": "mistral", "head_dim": 32},
        {**VISION, "model_type": "pixtral", "head_dim": 32},
        {},
    ),
    "mllama": (
        hf.MllamaForConditionalGeneration,
        hf.MllamaConfig,
        {"cross_attention_layers": [1]},
        MLLAMA_VISION,
        {},
    ),
    "qwen2_5_vl": (
        hf.Qwen2_5_VLForConditionalGeneration,
        hf.Qwen2_5_VLConfig,
        MROPE,
        {**QWEN_VISION, "fullatt_block_indexes": [1]},
        {},
    ),
    "qwen3_vl": (
        hf.Qwen3VLForConditionalGeneration,
        hf.Qwen3VLConfig,
        {**MROPE, "head_dim": 32},
        QWEN3_VISION,
        {},
    ),
    "qwen3_vl_moe": (
        hf.Qwen3VLMoeForConditionalGeneration,
        hf.Qwen3VLMoeConfig,
        {**MROPE, **EXPERTS, "head_dim": 32},
        QWEN3_VISION,
        {},
    ),
    "smolvlm": (hf.SmolVLMForConditionalGeneration, hf.SmolVLMConfig, LLAMA, VISION, {"pad_token_id": 0}),
}


def make_family(folder: Path, name: str) -> None:
    torch.manual_seed(1)
    model_class, config_class, text, vision, rest = FAMILIES[name]
    model = model_class(config_class(text_config={**TEXT, **text}, vision_config=vision, **rest))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.1)
    model.to(torch.bfloat16).save_pretrained(folder)


def transpose_experts(source: Path, folder: Path) -> None:
    """As Qwen3-VL MoE was published: [experts, in, out]. transformers 5 saves [experts, out, in]."""
    shutil.copytree(source, folder)
    path = folder / "model.safetensors"
    tensors = {
        name: tensor.transpose(1, 2).contiguous() if ".mlp.experts." in name else tensor
        for name, tensor in load_file(path).items()
    }
    save_file(tensors, path, metadata={"format": "pt"})


def main() -> None:
    folder = Path(sys.argv[1])
    for name in FAMILIES:
        make_family(folder / name, name)
    transpose_experts(folder / "qwen3_vl_moe", folder / "qwen3_vl_moe_as_published")


if __name__ == "__main__":
    main()
