"""Small Qwen3.5 checkpoints with random weights, for comparing writers: `python -m tests.e2e.make_toys FOLDER`.

Runs in the environment that has torch and transformers.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from quantize.torchvision_on_cpu import allow_torchvision

allow_torchvision()
from transformers import (  # noqa: E402
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3_5MoeConfig,
    Qwen3_5MoeForConditionalGeneration,
)

TEXT: dict[str, Any] = {
    "vocab_size": 512, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 32, "linear_key_head_dim": 16, "linear_value_head_dim": 16,
    "linear_num_key_heads": 2, "linear_num_value_heads": 4,
    "layer_types": [*["linear_attention"] * 3, "full_attention"],
    "rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1], "mrope_interleaved": True,
                        "rope_theta": 10000, "partial_rotary_factor": 0.25},
}  # fmt: skip
EXPERTS = {
    "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32,
}  # fmt: skip
VISION: dict[str, Any] = {
    "depth": 1, "hidden_size": 64, "intermediate_size": 96, "num_heads": 2, "out_hidden_size": 64, "patch_size": 16,
    "spatial_merge_size": 2, "temporal_patch_size": 2, "num_position_embeddings": 64,
}  # fmt: skip
MTP = {"mtp.fc.weight": (64, 128), "mtp.norm.weight": (64,), "mtp.layers.0.mlp.up_proj.weight": (96, 64)}


def make_toy(folder: Path, experts: bool, tied: bool, dtype: torch.dtype, mtp: bool) -> None:
    torch.manual_seed(1)
    text = {**TEXT, **(EXPERTS if experts else {}), "tie_word_embeddings": tied, "mtp_num_hidden_layers": int(mtp)}
    config_class, model_class = (
        (Qwen3_5MoeConfig, Qwen3_5MoeForConditionalGeneration)
        if experts
        else (Qwen3_5Config, Qwen3_5ForConditionalGeneration)
    )
    model = model_class(config_class(text_config=text, vision_config=VISION, tie_word_embeddings=tied))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.1)
        model.lm_head.weight[5] = 0
    model.to(dtype).save_pretrained(folder)
    if mtp:
        tensors = load_file(folder / "model.safetensors")
        tensors |= {name: torch.randn(shape).to(dtype) for name, shape in MTP.items()}
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def main() -> None:
    folder = Path(sys.argv[1])
    make_toy(folder / "dense", experts=False, tied=False, dtype=torch.bfloat16, mtp=True)
    make_toy(folder / "dense-tied-fp16", experts=False, tied=True, dtype=torch.float16, mtp=False)
    make_toy(folder / "moe", experts=True, tied=False, dtype=torch.bfloat16, mtp=True)


if __name__ == "__main__":
    main()
