"""Checkpoint folders as they lie on disk: tensors by their safetensors headers, everything else as files.

Header format: 8 bytes little-endian length, then JSON of name -> {dtype, shape, data_offsets}
(https://github.com/huggingface/safetensors, README).
"""

import json
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantize.errors import UnsupportedCheckpoint

MOST_HEADER_BYTES = 100_000_000  # safetensors' own limit
INDEX = "model.safetensors.index.json"
# The weights, and files that are written anew because they describe them: a verdict on the source says nothing
# of its child.
REWRITTEN = frozenset({INDEX, "config.json", "fovea-report.json"})


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor as its header tells: `start` and `size` in bytes, within `file`."""

    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    size: int

    def read(self) -> bytes:
        with self.file.open("rb") as stream:
            stream.seek(self.start)
            return stream.read(self.size)

    def equals(self, other: "StoredTensor") -> bool:
        """Same type, shape and bytes; compared through memory maps, so of any size."""
        if (self.dtype, self.shape, self.size) != (other.dtype, other.shape, other.size):
            return False
        if self.size == 0:
            return True
        step = 16 * 1024 * 1024
        with (
            self.file.open("rb") as a,
            other.file.open("rb") as b,
            mmap.mmap(a.fileno(), 0, access=mmap.ACCESS_READ) as ours,
            mmap.mmap(b.fileno(), 0, access=mmap.ACCESS_READ) as theirs,
        ):
            return all(
                ours[self.start + at : self.start + min(at + step, self.size)]
                == theirs[other.start + at : other.start + min(at + step, self.size)]
                for at in range(0, self.size, step)
            )


def check_source(folder: Path) -> None:
    """Raise UnsupportedCheckpoint unless this is a safetensors checkpoint that is not quantized yet."""
    config_path = folder / "config.json"
    if not config_path.is_file():
        raise UnsupportedCheckpoint(f"{folder} is not a checkpoint folder: it has no config.json")
    config = read_config(folder)
    if "quantization_config" in config or "quantization_config" in config.get("text_config", {}):
        raise UnsupportedCheckpoint(f"{folder} is quantized already: start from the original weights")
    if not weight_files(folder):
        raise UnsupportedCheckpoint(f"{folder} has no safetensors weights")


def read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as problem:
        raise UnsupportedCheckpoint(f"{folder}/config.json is not readable JSON") from problem
    if not isinstance(config, dict):
        raise UnsupportedCheckpoint(f"{folder}/config.json does not hold an object")
    return config


def weight_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def sidecar_files(folder: Path) -> list[Path]:
    """Every file that is carried over byte for byte."""
    weights = set(weight_files(folder))
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and path not in weights and path.name not in REWRITTEN and ".git" not in path.parts
    )


def read_tensors(folder: Path) -> dict[str, StoredTensor]:
    """All tensors of a checkpoint by name, from headers alone. Raises UnsupportedCheckpoint."""
    tensors: dict[str, StoredTensor] = {}
    for path in weight_files(folder):
        tensors.update(read_header(path))
    return tensors


def read_header(path: Path) -> dict[str, StoredTensor]:
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(MOST_HEADER_BYTES, size - 8):
                raise UnsupportedCheckpoint(f"{path} is cut short or not a safetensors file")
            header = json.loads(stream.read(length))
        base = 8 + length
        tensors = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            start, end = entry["data_offsets"]
            if not 0 <= start <= end <= size - base:
                raise UnsupportedCheckpoint(f"{path}: tensor {name} lies outside the file")
            tensors[name] = StoredTensor(entry["dtype"], tuple(entry["shape"]), path, base + start, end - start)
        return tensors
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise UnsupportedCheckpoint(f"{path} is not a safetensors file") from problem
