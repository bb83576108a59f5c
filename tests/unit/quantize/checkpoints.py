"""Tiny safetensors checkpoints written by hand, so that no test here needs torch."""

import json
import math
import random
import struct
from collections.abc import Iterable
from pathlib import Path

Tensor = tuple[str, tuple[int, ...], bytes]
BYTES = {"BF16": 2, "F16": 2, "F32": 4, "F8_E4M3": 1, "I8": 1, "I32": 4, "I64": 8}


def write_safetensors(path: Path, tensors: dict[str, Tensor]) -> None:
    text = json.dumps(header_of((name, dtype, shape) for name, (dtype, shape, _) in tensors.items())).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


def header_of(tensors: Iterable[tuple[str, str, tuple[int, ...]]]) -> dict[str, object]:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, dtype, shape in tensors:
        size = math.prod(shape) * BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    return header


def write_hollow(path: Path, tensors: list[tuple[str, str, tuple[int, ...]]]) -> None:
    """Headers of any size with a hole where the data would be."""
    text = json.dumps(header_of(tensors)).encode()
    size = sum(math.prod(shape) * BYTES[dtype] for _, dtype, shape in tensors)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        stream.truncate(8 + len(text) + size)


def write_checkpoint(folder: Path, tensors: dict[str, Tensor], **config: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3_5", **config}))
    (folder / "tokenizer.json").write_text("{}")
    write_safetensors(folder / "model.safetensors", tensors)
    return folder


def write_shards(folder: Path, tensors: dict[str, Tensor], count: int) -> Path:
    """The same in `count` files with an index."""
    write_checkpoint(folder, {})
    (folder / "model.safetensors").unlink()
    names = list(tensors)
    files = {}
    for number in range(count):
        file = f"model-{number + 1:05}-of-{count:05}.safetensors"
        mine = names[number::count]
        write_safetensors(folder / file, {name: tensors[name] for name in mine})
        files |= dict.fromkeys(mine, file)
    size = sum(len(data) for _, _, data in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def weights(seed: object, *shape: int, dtype: str = "BF16", spread: float = 0.02) -> Tensor:
    """Normally distributed; BF16 by cutting FP32's lower half off."""
    rng = random.Random(str(seed))
    values = [rng.gauss(0, spread) for _ in range(math.prod(shape))]
    if dtype == "BF16":
        return dtype, shape, b"".join(struct.pack("<f", value)[2:] for value in values)
    return dtype, shape, struct.pack(f"<{len(values)}{'e' if dtype == 'F16' else 'f'}", *values)


LAYER = "model.language_model.layers.0"
SHAPES = {
    "model.visual.blocks.0.attn.qkv.weight": (12, 4),
    "model.visual.merger.linear_fc1.weight": (8, 16),
    "model.language_model.embed_tokens.weight": (10, 8),
    f"{LAYER}.self_attn.q_proj.weight": (16, 8),
    f"{LAYER}.self_attn.k_proj.weight": (4, 8),
    f"{LAYER}.self_attn.v_proj.weight": (4, 8),
    f"{LAYER}.self_attn.o_proj.weight": (8, 16),
    f"{LAYER}.self_attn.q_norm.weight": (4,),
    f"{LAYER}.linear_attn.in_proj_qkv.weight": (24, 8),
    f"{LAYER}.linear_attn.in_proj_z.weight": (8, 8),
    f"{LAYER}.linear_attn.in_proj_a.weight": (2, 8),
    f"{LAYER}.linear_attn.conv1d.weight": (24, 1, 4),
    f"{LAYER}.linear_attn.A_log": (2,),
    f"{LAYER}.mlp.gate_proj.weight": (12, 8),
    f"{LAYER}.mlp.up_proj.weight": (12, 8),
    f"{LAYER}.mlp.down_proj.weight": (8, 12),
    f"{LAYER}.input_layernorm.weight": (8,),
    "model.language_model.norm.weight": (8,),
    "lm_head.weight": (10, 8),
    "mtp.fc.weight": (8, 16),
}


def toy(dtype: str = "BF16") -> dict[str, Tensor]:
    """A Qwen3.5 in small: every part there is, of one type."""
    return {name: weights(name, *shape, dtype=dtype) for name, shape in SHAPES.items()}
