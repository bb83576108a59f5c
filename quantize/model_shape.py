"""What a served model holds for every token and every sequence, by its config.json."""

import math
from dataclasses import dataclass
from typing import Any

from quantize.errors import UnsupportedCheckpoint

FULL, SLIDING, LINEAR = "full_attention", "sliding_attention", "linear_attention"
STATES = 2  # of a sequence: prefix caching, vLLM's default, keeps the last block's beside the present one
STATE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class ModelShape:
    """`layer_types` names every layer; `window` is a sliding layer's, in tokens; `state` are the bytes of a linear
    layer's state for one sequence: recurrent, and of the convolution before it. `block_step` are the tokens of
    vLLM's smallest block: 16 on GPUs, 128 on CPUs."""

    layer_types: tuple[str, ...]
    hidden: int
    intermediate: int
    vocabulary: int
    kv_elements: int
    window: int | None
    state: int
    longest_context: int
    patch: int
    merge: int
    vision_hidden: int
    vision_intermediate: int
    block_step: int = 16

    def kv_bytes(self, context: int, element_bytes: int, in_flight: int) -> int:
        """KV cache of one sequence of `context` tokens, in whole blocks; a sliding layer keeps its window and the
        tokens `in_flight` (vLLM 0.32, `SlidingWindowSpec`)."""
        block = self.block_tokens(element_bytes)
        blocks = {FULL: math.ceil(context / block)}
        blocks[SLIDING] = math.ceil(min((self.window or context) - 1 + in_flight, context) / block) + 1
        return sum(blocks.get(layer, 0) * block * self.kv_elements * element_bytes for layer in self.layer_types)

    def state_bytes(self, element_bytes: int) -> int:
        """Fixed states of one sequence, of all linear layers, each in a page as large as an attention layer's
        (vLLM 0.32, `MambaSpec`)."""
        page = self.block_tokens(element_bytes) * self.kv_elements * element_bytes
        return STATES * page * self.layer_types.count(LINEAR)

    def block_tokens(self, element_bytes: int) -> int:
        """Tokens a block: of a hybrid, as many as fill a linear layer's state, for all layers' pages are equal."""
        if LINEAR not in self.layer_types:
            return self.block_step
        return math.ceil(self.state / (self.kv_elements * element_bytes) / self.block_step) * self.block_step

    def image_tokens(self, width: int, height: int) -> int:
        """Of one picture that the preprocessor leaves at its size."""
        side = self.patch * self.merge
        return max(1, round(width / side)) * max(1, round(height / side))


def read_shape(config: dict[str, Any]) -> ModelShape:
    """Raises UnsupportedCheckpoint where the config does not say enough."""
    text = config.get("text_config") or config.get("llm_config") or config
    vision = config.get("vision_config") or {}
    try:
        heads, hidden = int(text["num_attention_heads"]), int(text["hidden_size"])
        head_dim = int(text.get("head_dim") or hidden // heads)
        return ModelShape(
            layer_types=layer_types(text),
            hidden=hidden,
            intermediate=int(text.get("intermediate_size") or text.get("moe_intermediate_size", 0)),
            vocabulary=int(text["vocab_size"]),
            kv_elements=2 * int(text.get("num_key_value_heads") or heads) * head_dim,
            window=text.get("sliding_window"),
            state=linear_state(text),
            longest_context=int(text.get("max_position_embeddings", 0)),
            patch=int(vision.get("patch_size", 14)),
            merge=int(vision.get("spatial_merge_size", 1)),
            vision_hidden=int(vision.get("hidden_size", 0)),
            vision_intermediate=int(vision.get("intermediate_size", 0)),
        )
    except (KeyError, TypeError, ValueError) as problem:
        raise UnsupportedCheckpoint(f"config.json does not say what fit needs: {problem}") from problem


def layer_types(text: dict[str, Any]) -> tuple[str, ...]:
    """Named one by one, or by how often full attention comes; every layer attends to all where nothing is said."""
    if named := text.get("layer_types"):
        return tuple(named)
    count = int(text["num_hidden_layers"])
    if interval := text.get("full_attention_interval"):
        return tuple(FULL if (layer + 1) % interval == 0 else LINEAR for layer in range(count))
    if pattern := text.get("sliding_window_pattern"):
        return tuple(FULL if (layer + 1) % pattern == 0 else SLIDING for layer in range(count))
    return (FULL,) * count


def linear_state(text: dict[str, Any]) -> int:
    """Gated DeltaNet's, as vLLM keeps it: [value heads, value dim, key dim] in the config's `mamba_ssm_dtype`, and
    the convolution's last inputs in 16 bits."""
    if "linear_num_value_heads" not in text:
        return 0
    key, value = int(text["linear_key_head_dim"]), int(text["linear_value_head_dim"])
    key_heads, value_heads = int(text["linear_num_key_heads"]), int(text["linear_num_value_heads"])
    recurrent = value_heads * value * key * STATE_BYTES[text.get("mamba_ssm_dtype") or "bfloat16"]
    channels = 2 * key_heads * key + value_heads * value
    return recurrent + channels * (int(text.get("linear_conv_kernel_dim", 4)) - 1) * 2
