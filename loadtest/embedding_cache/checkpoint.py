"""A checkpoint with sight as large as Qwen3.5-9B's and a small language model: encoding is all that it costs.

`python -m loadtest.embedding_cache.checkpoint BASE FOLDER` writes it: the vision tower of Qwen3.5-9B (27 blocks,
1152 wide) with seeded random weights, before the language model, tokenizer and template of BASE (the bundled one).
"""

import json
import math
import re
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from loadtest.qwen3_5_checkpoint import make_vision_config
from loadtest.qwen3_5_shapes import QWEN3_5_9B, Shape, vision_shapes

VISUAL = "model.visual."
NAME = "model.safetensors"
# Of the base's language model: one of Gated DeltaNet, one of attention. On CPUs six take 0.8 s for 1024 tokens.
LAYERS = 2
LAYER = re.compile(r"model\.language_model\.layers\.(\d+)\.")
BLOCK = 1 << 25  # numbers; more than the largest tensor has
MOST_PIXELS = 1024 * 1024
ONE = b"\x80\x3f"  # in BF16
PREPROCESSORS = ("preprocessor_config.json", "video_preprocessor_config.json")
Tensor = tuple[str, Shape, bytes | None]


def write_checkpoint(base: Path, folder: Path, seed: int = 0) -> int:
    """Returns the bytes of weights."""
    folder.mkdir(parents=True)
    config = json.loads((base / "config.json").read_text())
    width = config["text_config"]["hidden_size"]
    config["vision_config"] = {
        **config["vision_config"], **make_vision_config(QWEN3_5_9B), "out_hidden_size": width,
    }  # fmt: skip
    config["vision_config"]["model_type"] = "qwen3_5_vision"
    text = config["text_config"]
    text |= {"num_hidden_layers": LAYERS, "layer_types": text["layer_types"][:LAYERS]}
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    for path in base.iterdir():
        if path.suffix in (".json", ".jinja") and path.name != "config.json":
            shutil.copy(path, folder)
    for name in PREPROCESSORS:
        content = json.loads((base / name).read_text())
        content["size"] = {**content["size"], "longest_edge": MOST_PIXELS}
        (folder / name).write_text(json.dumps(content, indent=2))
    return write_weights(folder / NAME, [*language_tensors(base / NAME), *vision_tensors(width)], seed)


def vision_tensors(width: int) -> Iterator[Tensor]:
    """Names and shapes; `None`: to be drawn. The last matrix gives what the language model takes."""
    for name, shape in vision_shapes(VISUAL.removesuffix(".")).items():
        narrow = (width, *shape[1:]) if "merger.linear_fc2" in name else shape
        yield name, narrow, ONE * math.prod(narrow) if "norm" in name and name.endswith(".weight") else None


def language_tensors(path: Path) -> Iterator[Tensor]:
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header: dict[str, Any] = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        for name, entry in header.items():
            layer = LAYER.match(name)
            if not name.startswith(VISUAL) and (layer is None or int(layer[1]) < LAYERS):
                start, end = entry["data_offsets"]
                stream.seek(8 + length + start)
                yield name, tuple(entry["shape"]), stream.read(end - start)


def write_weights(path: Path, tensors: list[Tensor], seed: int) -> int:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape, _ in tensors:
        end = at + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        write_data(stream, tensors, np.random.default_rng(seed))
    return at


def write_data(stream: BinaryIO, tensors: list[Tensor], draw: np.random.Generator) -> None:
    """What is to be drawn lies in one block of numbers, each tensor from a place of its own on."""
    floats = draw.standard_normal(BLOCK, np.float32) * np.float32(0.02)
    block = memoryview((floats.view(np.uint32) >> 16).astype(np.uint16).tobytes())
    for _, shape, data in tensors:
        size = 2 * math.prod(shape)
        start = 2 * int(draw.integers(0, BLOCK - size // 2 + 1))
        stream.write(block[start : start + size] if data is None else data)


if __name__ == "__main__":
    print(write_checkpoint(Path(sys.argv[1]), Path(sys.argv[2])))
