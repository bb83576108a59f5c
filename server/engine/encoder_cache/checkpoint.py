"""Where a checkpoint lies and what it holds, by headers alone: what a fingerprint is taken of. No torch.

A header: 8 bytes little-endian length, then JSON of name -> {dtype, shape, data_offsets}
(https://github.com/huggingface/safetensors, README).
"""

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
MOST_HEADER_BYTES = 100_000_000  # safetensors' own limit
INDEX = "model.safetensors.index.json"
# Read instead of the others by vLLM's "auto" where they are there, by "safetensors" where there is no index.
CONSOLIDATED = "consolidated*.safetensors"
OTHER_FORMATS = (".bin", ".pt", ".pth", ".gguf")


class NoFingerprint(Exception):
    """What a checkpoint sees with cannot be told; says why."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """`start` and `size` in bytes, within its file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Header:
    """`digest` is of the header's own bytes: it changes with any name, type, shape or place."""

    tensors: tuple[Tensor, ...]
    digest: str


def find_checkpoint(model: str, environ: Mapping[str, str], revision: str | None = None) -> Path:
    """The folder of that name, or where the hub's cache has ORG/NAME. Raises NoFingerprint."""
    folder = Path(model)
    if folder.is_dir():
        return folder
    if not HUB_ID.fullmatch(model):
        raise NoFingerprint(f"{model} is no checkpoint folder")
    repository = hub_cache(environ) / f"models--{model.replace('/', '--')}"
    wanted = revision or "main"
    try:
        commit = (repository / "refs" / wanted).read_text().strip()
    except OSError:
        commit = wanted
    snapshot = repository / "snapshots" / commit
    if "/" in commit or not snapshot.is_dir():
        raise NoFingerprint(f"{model} is not in the hub's cache, in {repository.parent}")
    return snapshot


def hub_cache(environ: Mapping[str, str]) -> Path:
    """As huggingface_hub finds it."""
    if named := environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(named).expanduser()
    home = environ.get("HF_HOME") or Path(environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home).expanduser() / "hub"


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object. Raises NoFingerprint."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as problem:
        raise NoFingerprint(f"{path} is not readable JSON") from problem
    if not isinstance(content, dict):
        raise NoFingerprint(f"{path} does not hold an object")
    return content


def weight_files(folder: Path) -> list[Path]:
    """Every file that vLLM may load weights from, whatever its load format: rather one too many."""
    found = set(folder.glob(CONSOLIDATED))
    if (folder / INDEX).exists():
        names = read_object(folder / INDEX).get("weight_map")
        if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
            raise NoFingerprint(f"{folder / INDEX} has no weight_map of names")
        found |= {folder / name for name in names.values()}
    else:
        found |= set(folder.glob("*.safetensors"))
    found = found or {path for path in folder.iterdir() if path.suffix in OTHER_FORMATS}
    if not found:
        raise NoFingerprint(f"{folder} holds no weights")
    return sorted(found)


def read_header(path: Path) -> Header:
    """Of a safetensors file; any other is one tensor without a name. Raises NoFingerprint."""
    try:
        size = path.stat().st_size
        if path.suffix != ".safetensors":
            return Header((Tensor("", "file", (size,), 0, size),), "")
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(MOST_HEADER_BYTES, size - 8):
                raise NoFingerprint(f"{path} is cut short or not a safetensors file")
            text = stream.read(length)
        entries = json.loads(text)
        entries.pop("__metadata__", None)
        tensors = tuple(_parse(name, entry, 8 + length, size) for name, entry in entries.items())
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise NoFingerprint(f"{path} is not a readable safetensors file") from problem
    return Header(tensors, blake3(text).hexdigest())


def _parse(name: str, entry: dict[str, Any], base: int, file_size: int) -> Tensor:
    start, end = entry["data_offsets"]
    if not 0 <= start <= end <= file_size - base:
        raise ValueError(f"{name} lies outside of its file")
    return Tensor(name, str(entry["dtype"]), tuple(entry["shape"]), base + start, end - start)
