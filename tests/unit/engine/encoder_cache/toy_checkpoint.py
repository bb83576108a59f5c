"""Checkpoints of a few bytes, written by hand."""

import json
import math
import os
import struct
from pathlib import Path

SIDES = {"BF16": 2, "F8_E4M3": 1, "F32": 4}
SIGHT = {"model.visual.patch_embed.proj.weight": b"SEEN", "model.visual.merger.linear_fc1.weight": b"TOLD"}
TEXT = {
    "model.language_model.layers.0.mlp.up_proj.weight": b"WORD",
    "model.language_model.embed_tokens.weight": b"EMB_",
    "model.language_model.norm.weight": b"NORM",
    "lm_head.weight": b"HEAD",
    "mtp.layers.0.mlp.up_proj.weight": b"NEXT",
}
LONG_AGO_NS = 1_700_000_000_000_000_000


def write_file(path: Path, tensors: dict[str, bytes], dtype: str = "BF16") -> None:
    header, at = {}, 0
    for name, data in tensors.items():
        shape = [len(data) // SIDES[dtype]]
        assert math.prod(shape) * SIDES[dtype] == len(data)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(tensors.values()))


def write_toy(folder: Path, shards: int = 1, config: object = None, **changed: bytes) -> Path:
    """`changed`: other bytes, or further tensors, by name."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3_5", **dict(config or {})}))  # type: ignore[call-overload]
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": {"longest_edge": 100}}))
    tensors = {**SIGHT, **TEXT, **changed}
    if shards == 1:
        write_file(folder / "model.safetensors", tensors)
        return folder
    names = sorted(tensors)
    files = {name: f"model-{number % shards}.safetensors" for number, name in enumerate(names)}
    for file in set(files.values()):
        write_file(folder / file, {name: tensors[name] for name in names if files[name] == file})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    return folder


def flip(path: Path, found: bytes) -> None:
    """One bit of the first place where `found` is."""
    data = bytearray(path.read_bytes())
    data[data.index(found)] ^= 1
    path.write_bytes(data)


def give_old_times(path: Path) -> None:
    os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))
