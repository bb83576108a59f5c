"""The tensors of Qwen3.5-9B as it is published, by name (transformers' Qwen3_5Config is this model)."""

Shape = tuple[int, ...]
WIDTH, VISION, MLP, VOCABULARY, LAYERS, BLOCKS = 4096, 1152, 12288, 248320, 32, 27


def qwen3_5_9b(mtp: bool = False, layers: int = LAYERS, vocabulary: int = VOCABULARY) -> dict[str, Shape]:
    """All of it, or with fewer layers and tokens; `mtp`: with the head that drafts."""
    shapes: dict[str, Shape] = {
        "lm_head.weight": (vocabulary, WIDTH),
        "model.language_model.embed_tokens.weight": (vocabulary, WIDTH),
        "model.language_model.norm.weight": (WIDTH,),
    }
    for layer in range(layers):
        shapes |= layer_shapes(f"model.language_model.layers.{layer}", attends=layer % 4 == 3)
    shapes |= vision_shapes("model.visual")
    if mtp:
        shapes |= {"mtp.fc.weight": (WIDTH, 2 * WIDTH), "mtp.norm.weight": (WIDTH,)}
        shapes |= {f"mtp.pre_fc_norm_{of}.weight": (WIDTH,) for of in ("embedding", "hidden")}
        shapes |= layer_shapes("mtp.layers.0", attends=True)
    return shapes


def layer_shapes(stem: str, attends: bool) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {
        "input_layernorm.weight": (WIDTH,),
        "post_attention_layernorm.weight": (WIDTH,),
        "mlp.gate_proj.weight": (MLP, WIDTH),
        "mlp.up_proj.weight": (MLP, WIDTH),
        "mlp.down_proj.weight": (WIDTH, MLP),
    }
    if attends:
        shapes |= {
            "self_attn.q_proj.weight": (8192, WIDTH),
            "self_attn.k_proj.weight": (1024, WIDTH),
            "self_attn.v_proj.weight": (1024, WIDTH),
            "self_attn.o_proj.weight": (WIDTH, 4096),
            "self_attn.q_norm.weight": (256,),
            "self_attn.k_norm.weight": (256,),
        }
    else:
        shapes |= {
            "linear_attn.in_proj_qkv.weight": (8192, WIDTH),
            "linear_attn.in_proj_z.weight": (4096, WIDTH),
            "linear_attn.in_proj_a.weight": (32, WIDTH),
            "linear_attn.in_proj_b.weight": (32, WIDTH),
            "linear_attn.out_proj.weight": (WIDTH, 4096),
            "linear_attn.conv1d.weight": (8192, 1, 4),
            "linear_attn.norm.weight": (128,),
            "linear_attn.A_log": (32,),
            "linear_attn.dt_bias": (32,),
        }
    return {f"{stem}.{name}": shape for name, shape in shapes.items()}


def vision_shapes(stem: str) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {
        "patch_embed.proj.weight": (VISION, 3, 2, 16, 16),
        "patch_embed.proj.bias": (VISION,),
        "pos_embed.weight": (2304, VISION),
        "merger.norm.weight": (VISION,),
        "merger.norm.bias": (VISION,),
        "merger.linear_fc1.weight": (4608, 4608),
        "merger.linear_fc1.bias": (4608,),
        "merger.linear_fc2.weight": (WIDTH, 4608),
        "merger.linear_fc2.bias": (WIDTH,),
    }
    linear = {"attn.qkv": (3 * VISION, VISION), "attn.proj": (VISION, VISION)}
    linear |= {"mlp.linear_fc1": (4304, VISION), "mlp.linear_fc2": (VISION, 4304)}
    for block in range(BLOCKS):
        for name, shape in linear.items():
            shapes |= {f"blocks.{block}.{name}.weight": shape, f"blocks.{block}.{name}.bias": shape[:1]}
        for norm in ("norm1", "norm2"):
            shapes |= {f"blocks.{block}.{norm}.{of}": (VISION,) for of in ("weight", "bias")}
    return {f"{stem}.{name}": shape for name, shape in shapes.items()}
