"""Checkpoint folders as they lie on disk: tensors by their safetensors headers, everything else as files.

Header format: 8 bytes little-endian length, then JSON of name -> {dtype, shape, data_offsets}
(https://github.com/huggingface/safetensors, README).
"""

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantize.errors import AlreadyQuantized, DamagedIndex, DamagedShard, UnsupportedCheckpoint

READ_BYTES = 512 * 1024
MOST_HEADER_BYTES = 100_000_000  # safetensors' own limit
INDEX = "model.safetensors.index.json"
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16,
    "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64, "C64": 64, "F4": 4,
}  # fmt: skip
README = "README.md"
# The weights, and files that are written anew because they describe them: a verdict on the source says nothing
# of its child.
REWRITTEN = frozenset({INDEX, README, "config.json", "fovea-report.json", "SHA256SUMS"})
# The weights, and whatever else holds them once more.
WEIGHTS = frozenset({".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx", ".h5", ".msgpack"})
NOT_CARRIED = frozenset({".git", ".cache"})
# What engines note of a checkpoint's sight beside it, of this very copy: no part of it.
NOTED = "fovea-vision.json"


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor as its header tells: `start` and `size` in bytes, within `file`."""

    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    size: int

    def read(self) -> bytes:
        return b"".join(self.chunks())

    def equals(self, other: "StoredTensor") -> bool:
        """Same type, shape and bytes, whatever the size."""
        if (self.dtype, self.shape, self.size) != (other.dtype, other.shape, other.size):
            return False
        # Bytes, for memory views are compared one element after the other.
        pairs = zip(self.chunks(), other.chunks(), strict=True)
        return all(ours.tobytes() == theirs.tobytes() for ours, theirs in pairs)

    def chunks(self) -> Iterator[memoryview]:
        """The bytes, some at a time, each valid until the next: fresh memory costs more than reading."""
        buffer = memoryview(bytearray(min(READ_BYTES, self.size)))
        with self.file.open("rb", buffering=0) as stream:
            stream.seek(self.start)
            left = self.size
            while left:
                done = stream.readinto(buffer[: min(left, READ_BYTES)])
                if not done:
                    raise DamagedShard(f"{self.file} became shorter while it was read")
                yield buffer[:done]
                left -= done


def check_source(folder: Path) -> None:
    """Raise UnsupportedCheckpoint unless this is a safetensors checkpoint that is not quantized yet."""
    config = read_config(folder)
    if "quantization_config" in config or "quantization_config" in config.get("text_config", {}):
        raise AlreadyQuantized(f"{folder} is quantized already: start from the original weights")
    if not weight_files(folder):
        raise UnsupportedCheckpoint(f"{folder} has no safetensors weights")


def read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise UnsupportedCheckpoint(f"{folder} is not a checkpoint folder: it has no config.json")
    return read_object(path)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object. Raises UnsupportedCheckpoint."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as problem:
        raise UnsupportedCheckpoint(f"{path} is not readable JSON") from problem
    if not isinstance(content, dict):
        raise UnsupportedCheckpoint(f"{path} does not hold an object")
    return content


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights: those of the index, where there is one; links are followed.

    Other safetensors files beside them (the same weights under other names, mostly) are none of ours.
    """
    if (folder / INDEX).is_file():
        return sorted({folder / name for name in read_index(folder).values()})
    return sorted(folder.glob("*.safetensors"))


def read_index(folder: Path) -> dict[str, str]:
    """File name by tensor. Raises DamagedIndex."""
    files = read_object(folder / INDEX).get("weight_map")
    if not isinstance(files, dict) or not all(isinstance(name, str) for name in files.values()):
        raise DamagedIndex(f"{folder / INDEX} has no weight_map of names")
    for name in files.values():
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise DamagedIndex(f"{folder / INDEX} names '{name}', which is no safetensors file beside it")
    return files


def sidecar_files(folder: Path) -> list[Path]:
    """Every file that is carried over byte for byte: neither weights nor what describes them."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.suffix not in WEIGHTS
        and path.name not in REWRITTEN
        and not is_noted(path)
        and not NOT_CARRIED.intersection(path.relative_to(folder).parts)
    )


def is_noted(path: Path) -> bool:
    """Also while it is written."""
    return path.name.lstrip(".").startswith(NOTED)


def read_tensors(folder: Path) -> dict[str, StoredTensor]:
    """All tensors of a checkpoint by name, from headers alone. Raises UnsupportedCheckpoint."""
    tensors: dict[str, StoredTensor] = {}
    for path in weight_files(folder):
        for name, tensor in read_header(path).items():
            if name in tensors:
                raise DamagedIndex(f"{name} is in {tensors[name].file.name} and in {path.name}")
            tensors[name] = tensor
    if (folder / INDEX).is_file():
        check_index(folder, tensors)
    return tensors


def check_index(folder: Path, tensors: dict[str, StoredTensor]) -> None:
    """Raise DamagedIndex unless the index says of each tensor where it is, and of no other."""
    files = read_index(folder)
    for name in sorted(files.keys() | tensors.keys()):
        if name not in tensors:
            raise DamagedIndex(f"{folder / INDEX} promises {name} in {files[name]}, where it is not")
        if name not in files:
            raise DamagedIndex(f"{folder / INDEX} does not know {name}, which is in {tensors[name].file.name}")


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of one file by name. Raises DamagedShard."""
    try:
        with path.open("rb") as stream:
            size = path.stat().st_size
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(MOST_HEADER_BYTES, size - 8):
                raise DamagedShard(f"{path} is cut short or not a safetensors file")
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        return {name: parse_entry(name, entry, path, 8 + length, size) for name, entry in header.items()}
    except OSError as problem:
        what = "is a link to a file that is not there" if path.is_symlink() else "cannot be read"
        raise DamagedShard(f"{path} {what} ({problem.strerror})") from problem
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise DamagedShard(f"{path} is not a safetensors file") from problem


def parse_entry(name: str, entry: dict[str, Any], path: Path, base: int, file_size: int) -> StoredTensor:
    """One line of a header whose data begin at `base`."""
    start, end = entry["data_offsets"]
    shape, dtype = tuple(entry["shape"]), entry["dtype"]
    if not all(type(side) is int and side >= 0 for side in shape):
        raise DamagedShard(f"{path}: tensor {name} has the shape {list(shape)}")
    if not 0 <= start <= end <= file_size - base:
        raise DamagedShard(f"{path} is cut short: tensor {name} lies outside it")
    if (end - start) * 8 != math.prod(shape) * BITS.get(dtype, 0):
        raise DamagedShard(f"{path}: tensor {name} does not hold what its shape and type say")
    return StoredTensor(dtype, shape, path, base + start, end - start)
