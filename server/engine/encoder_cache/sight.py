"""Which tensors an embedding depends on: all that are not provably of the language model alone.

One too many leaves a cache cold for nothing; one too few would answer with what another tower saw. So names are an
allowlist of what is left out, and only for families whose encoders were read in vLLM 0.32's sources.
"""

import re
from collections.abc import Iterable

from server.engine.encoder_cache.checkpoint import Tensor

# By config.json's model_type.
FAMILIES = frozenset({
    "gemma3", "idefics3", "internvl", "internvl_chat", "llava", "llava_next", "mistral3", "mllama", "qwen2_5_vl",
    "qwen2_vl", "qwen3_5", "qwen3_5_moe", "qwen3_vl", "qwen3_vl_moe", "smolvlm",
})  # fmt: skip
# What stands before the language model's parts, as families are published and as transformers saves them.
LANGUAGE = r"(model\.|(model\.)?(language_model|text_model)\.(model\.)?)"
LEFT_OUT = (
    rf"{LANGUAGE}layers\.\d+\..*",
    rf"{LANGUAGE}norm\.weight",
    r"(language_model\.)?lm_head\..*",
    r"mtp\..*",
)
# Pruned videos have the embeddings of their time stamps among what is kept of them (qwen3_vl.py).
EMBEDDINGS = rf"{LANGUAGE}embed_tokens\..*"
# A tower of other types is quantized: how, its checkpoint's quantization_config says.
PLAIN = frozenset({"BF16", "F16", "F32"})
SCALES = ("weight_scale", "input_scale")


def sight_of(tensors: Iterable[Tensor], family: str, prunes_videos: bool) -> list[Tensor]:
    """Those that are left when the language model's are taken away; all of an unknown family's."""
    if family not in FAMILIES:
        return list(tensors)
    patterns = LEFT_OUT if prunes_videos else (*LEFT_OUT, EMBEDDINGS)
    left_out = re.compile("|".join(f"(?:{pattern})" for pattern in patterns))
    return [tensor for tensor in tensors if not left_out.fullmatch(tensor.name)]


def is_quantized(sight: Iterable[tuple[str, str]]) -> bool:
    """`sight`: names and types."""
    return any(dtype not in PLAIN or name.endswith(SCALES) for name, dtype in sight)
