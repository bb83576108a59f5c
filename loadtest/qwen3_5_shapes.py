"""The tensors of Qwen3.5-9B as it is published, by name, and of smaller models of its kind.

transformers' Qwen3_5Config, as it is by default, is the 9B model.
"""

from dataclasses import dataclass, replace

Shape = tuple[int, ...]
LINEAR_HEAD = 128  # numbers of each of linear attention's heads


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the shapes follow from; each fourth layer attends.

    `key_heads` and `value_heads` are linear attention's.
    """

    width: int = 4096
    mlp: int = 12288
    heads: int = 16
    kv_heads: int = 4
    head: int = 256
    key_heads: int = 16
    value_heads: int = 32
    layers: int = 32
    vocabulary: int = 248320
    vision: int = 1152
    vision_mlp: int = 4304
    vision_heads: int = 16
    blocks: int = 27
    positions: int = 2304


QWEN3_5_9B = Sizes()


def qwen3_5_9b(
    mtp: bool = False, layers: int = QWEN3_5_9B.layers, vocabulary: int = QWEN3_5_9B.vocabulary
) -> dict[str, Shape]:
    """All of it, or with fewer layers and tokens; `mtp`: with the head that drafts."""
    return model_shapes(replace(QWEN3_5_9B, layers=layers, vocabulary=vocabulary), mtp)


def model_shapes(sizes: Sizes, mtp: bool = False) -> dict[str, Shape]:
    width = sizes.width
    shapes: dict[str, Shape] = {
        "lm_head.weight": (sizes.vocabulary, width),
        "model.language_model.embed_tokens.weight": (sizes.vocabulary, width),
        "model.language_model.norm.weight": (width,),
    }
    for layer in range(sizes.layers):
        shapes |= layer_shapes(f"model.language_model.layers.{layer}", attends(layer), sizes)
    shapes |= vision_shapes("model.visual", sizes)
    if mtp:
        shapes |= {"mtp.fc.weight": (width, 2 * width), "mtp.norm.weight": (width,)}
        shapes |= {f"mtp.pre_fc_norm_{of}.weight": (width,) for of in ("embedding", "hidden")}
        shapes |= layer_shapes("mtp.layers.0", True, sizes)
    return shapes


def attends(layer: int) -> bool:
    return layer % 4 == 3


def layer_shapes(stem: str, attending: bool, sizes: Sizes = QWEN3_5_9B) -> dict[str, Shape]:
    width, mlp, heads = sizes.width, sizes.mlp, sizes.heads * sizes.head
    shapes: dict[str, Shape] = {
        "input_layernorm.weight": (width,),
        "post_attention_layernorm.weight": (width,),
        "mlp.gate_proj.weight": (mlp, width),
        "mlp.up_proj.weight": (mlp, width),
        "mlp.down_proj.weight": (width, mlp),
    }
    if attending:
        shapes |= {
            "self_attn.q_proj.weight": (2 * heads, width),  # each with its gate
            "self_attn.k_proj.weight": (sizes.kv_heads * sizes.head, width),
            "self_attn.v_proj.weight": (sizes.kv_heads * sizes.head, width),
            "self_attn.o_proj.weight": (width, heads),
            "self_attn.q_norm.weight": (sizes.head,),
            "self_attn.k_norm.weight": (sizes.head,),
        }
    else:
        shapes |= linear_attention_shapes(sizes)
    return {f"{stem}.{name}": shape for name, shape in shapes.items()}


def linear_attention_shapes(sizes: Sizes) -> dict[str, Shape]:
    width, values = sizes.width, sizes.value_heads * LINEAR_HEAD
    all_three = 2 * sizes.key_heads * LINEAR_HEAD + values
    return {
        "linear_attn.in_proj_qkv.weight": (all_three, width),
        "linear_attn.in_proj_z.weight": (values, width),
        "linear_attn.in_proj_a.weight": (sizes.value_heads, width),
        "linear_attn.in_proj_b.weight": (sizes.value_heads, width),
        "linear_attn.out_proj.weight": (width, values),
        "linear_attn.conv1d.weight": (all_three, 1, 4),
        "linear_attn.norm.weight": (LINEAR_HEAD,),
        "linear_attn.A_log": (sizes.value_heads,),
        "linear_attn.dt_bias": (sizes.value_heads,),
    }


def vision_shapes(stem: str, sizes: Sizes = QWEN3_5_9B) -> dict[str, Shape]:
    vision, merged = sizes.vision, 4 * sizes.vision
    shapes: dict[str, Shape] = {
        "patch_embed.proj.weight": (vision, 3, 2, 16, 16),
        "patch_embed.proj.bias": (vision,),
        "pos_embed.weight": (sizes.positions, vision),
        "merger.norm.weight": (vision,),
        "merger.norm.bias": (vision,),
        "merger.linear_fc1.weight": (merged, merged),
        "merger.linear_fc1.bias": (merged,),
        "merger.linear_fc2.weight": (sizes.width, merged),
        "merger.linear_fc2.bias": (sizes.width,),
    }
    linear = {"attn.qkv": (3 * vision, vision), "attn.proj": (vision, vision)}
    linear |= {"mlp.linear_fc1": (sizes.vision_mlp, vision), "mlp.linear_fc2": (vision, sizes.vision_mlp)}
    for block in range(sizes.blocks):
        for name, shape in linear.items():
            shapes |= {f"blocks.{block}.{name}.weight": shape, f"blocks.{block}.{name}.bias": shape[:1]}
        for norm in ("norm1", "norm2"):
            shapes |= {f"blocks.{block}.{norm}.{of}": (vision,) for of in ("weight", "bias")}
    return {f"{stem}.{name}": shape for name, shape in shapes.items()}
