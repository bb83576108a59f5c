"""A checkpoint of Qwen3.5-9B's real layer shapes with fewer layers and random weights, for benchmarks.

`python -m loadtest.qwen3_5_checkpoint FOLDER` writes it and prints how many bytes its weights have.
"""

import json
import math
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.qwen3_5_shapes import Shape, qwen3_5_9b

LAYERS, VOCABULARY = 8, 40960
SHARD_BYTES = 1_000_000_000
BLOCK = 1 << 24
CONFIG: dict[str, Any] = {
    "architectures": ["Qwen3_5ForConditionalGeneration"],
    "model_type": "qwen3_5",
    "dtype": "bfloat16",
    "tie_word_embeddings": False,
    "image_token_id": 3,
    "video_token_id": 4,
    "vision_start_token_id": 1,
    "vision_end_token_id": 2,
    "text_config": {
        "model_type": "qwen3_5_text",
        "dtype": "bfloat16",
        "vocab_size": VOCABULARY,
        "num_hidden_layers": LAYERS,
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 32,
        "layer_types": [*["linear_attention"] * 3, "full_attention"] * (LAYERS // 4),
        "tie_word_embeddings": False,
    },
    "vision_config": {
        "model_type": "qwen3_5",
        "depth": 27,
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_heads": 16,
        "out_hidden_size": 4096,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "num_position_embeddings": 2304,
    },
}


def write_checkpoint(folder: Path) -> int:
    """In files of about a gigabyte, with an index; returns the bytes of weights."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2))
    shards: list[dict[str, Shape]] = [{}]
    filled = total = 0
    for name, shape in qwen3_5_9b(layers=LAYERS, vocabulary=VOCABULARY).items():
        size = 2 * math.prod(shape)
        if filled + size > SHARD_BYTES:
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
