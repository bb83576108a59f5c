"""A checkpoint of Qwen3.5-9B's real layer shapes and random weights, for benchmarks.

`python -m loadtest.qwen3_5_checkpoint FOLDER` writes one with fewer layers and prints its bytes of weights.
"""

import json
import math
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.qwen3_5_shapes import LINEAR_HEAD, QWEN3_5_9B, Shape, Sizes, attends, model_shapes

SHARD_BYTES = 1_000_000_000
BLOCK = 1 << 24
# What the benchmark of writers reads: five gigabytes.
EIGHT_LAYERS = replace(QWEN3_5_9B, layers=8, vocabulary=40960)


def make_config(sizes: Sizes) -> dict[str, Any]:
    """config.json of such a model."""
    return {
        "architectures": ["Qwen3_5ForConditionalGeneration"],
        "model_type": "qwen3_5",
        "dtype": "bfloat16",
        "tie_word_embeddings": False,
        "image_token_id": 3,
        "video_token_id": 4,
        "vision_start_token_id": 1,
        "vision_end_token_id": 2,
        "text_config": make_text_config(sizes),
        "vision_config": make_vision_config(sizes),
    }


def make_text_config(sizes: Sizes) -> dict[str, Any]:
    kinds = ["full_attention" if attends(layer) else "linear_attention" for layer in range(sizes.layers)]
    return {
        "model_type": "qwen3_5_text",
        "dtype": "bfloat16",
        "vocab_size": sizes.vocabulary,
        "num_hidden_layers": sizes.layers,
        "hidden_size": sizes.width,
        "intermediate_size": sizes.mlp,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "head_dim": sizes.head,
        "linear_key_head_dim": LINEAR_HEAD,
        "linear_value_head_dim": LINEAR_HEAD,
        "linear_num_key_heads": sizes.key_heads,
        "linear_num_value_heads": sizes.value_heads,
        "layer_types": kinds,
        "tie_word_embeddings": False,
    }


def make_vision_config(sizes: Sizes) -> dict[str, Any]:
    return {
        "model_type": "qwen3_5",
        "depth": sizes.blocks,
        "hidden_size": sizes.vision,
        "intermediate_size": sizes.vision_mlp,
        "num_heads": sizes.vision_heads,
        "out_hidden_size": sizes.width,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "num_position_embeddings": sizes.positions,
    }


def write_checkpoint(folder: Path, sizes: Sizes = EIGHT_LAYERS) -> int:
    """In files of about a gigabyte, with an index; returns the bytes of weights."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(make_config(sizes), indent=2))
    shards: list[dict[str, Shape]] = [{}]
    filled = total = 0
    for name, shape in model_shapes(sizes).items():
        size = 2 * math.prod(shape)
        if shards[-1] and filled + size > SHARD_BYTES:
            shards.append({})
            filled = 0
        shards[-1][name] = shape
        filled, total = filled + size, total + size
    rng = np.random.default_rng(0)
    floats = rng.standard_normal(BLOCK, np.float32) * np.float32(0.02)
    block = (floats.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    files: dict[str, str] = {}
    for number, shapes in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        write_shard(folder / file, shapes, block)
        files |= dict.fromkeys(shapes, file)
    index = {"metadata": {"total_size": total}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return total


def write_shard(path: Path, shapes: dict[str, Shape], block: bytes) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in shapes.items():
        end = at + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for left in range(at, 0, -len(block)):
            stream.write(block[: min(left, len(block))])


if __name__ == "__main__":
    print(write_checkpoint(Path(sys.argv[1])))
