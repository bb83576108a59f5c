"""Tiny safetensors checkpoints written by hand, so that no test here needs torch."""

import json
import struct
from pathlib import Path

Tensor = tuple[str, tuple[int, ...], bytes]


def write_safetensors(path: Path, tensors: dict[str, Tensor]) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


def write_checkpoint(folder: Path, tensors: dict[str, Tensor], **config: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "toy", **config}))
    (folder / "tokenizer.json").write_text("{}")
    write_safetensors(folder / "model.safetensors", tensors)
    return folder


SOURCE: dict[str, Tensor] = {
    "model.visual.fc.weight": ("BF16", (2, 2), b"12345678"),
    "model.layers.0.mlp.weight": ("BF16", (2, 2), b"abcdefgh"),
    "model.norm.weight": ("BF16", (2,), b"norm"),
}
QUANTIZED: dict[str, Tensor] = {
    "model.visual.fc.weight": SOURCE["model.visual.fc.weight"],
    "model.layers.0.mlp.weight": ("F8_E4M3", (2, 2), b"abcd"),
    "model.layers.0.mlp.weight_scale": ("BF16", (2, 1), b"sssc"),
    "model.norm.weight": SOURCE["model.norm.weight"],
}
