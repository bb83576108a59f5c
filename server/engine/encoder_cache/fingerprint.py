"""What a model sees with, as one digest: the namespace of its embeddings.

Equal for a checkpoint and what is made of it without touching its sight; another whenever a bit of its tower or
connector, of what prepares pictures for it, or of the code that runs it is another.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

from server.engine.encoder_cache.checkpoint import NoFingerprint, read_object
from server.engine.encoder_cache.sight import is_quantized
from server.engine.encoder_cache.tower_digests import digest_sight

FORMAT = 1
# Of config.json, wherever it lies in it: what saving it again writes anew, and what the engine tells of its own.
# All else stays, the language model's part too: some connectors take their epsilon from it.
FORGOTTEN = frozenset({"transformers_version", "_name_or_path", "quantization_config", "dtype", "torch_dtype"})
PREPROCESSORS = ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json")
# Mistral's own spellings of them, and code that comes with a checkpoint.
RAW = ("params.json", "tekken.json", "**/*.py")
# Says how modules are stored that have scales beside them, and nothing of those without.
STORED_AS_TOLD = "compressed-tensors"
VIDEO_PRUNING = "video_pruning_rate"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`parts`: of what it is taken, for people; two that differ say which."""

    hex: str
    parts: Mapping[str, str]


def vision_fingerprint(
    model: Path, dtype: str, extra: Mapping[str, str], cache_folder: Path | None = None
) -> Fingerprint:
    """Of the checkpoint in the folder `model` on an engine that computes in `dtype`, and is `extra` besides (see
    engine_parts.py). Raises NoFingerprint.

    Weights are hashed once: their digests are kept in `fovea-vision.json` beside them, or in `cache_folder`.
    """
    prunes_videos = bool(extra.get(VIDEO_PRUNING))
    config = read_object(model / "config.json")
    sight = digest_sight(model, str(config.get("model_type")), prunes_videos, cache_folder or default_folder())
    stored = {(tensor.name, tensor.dtype) for tensor, _ in sight}
    preprocessors = {name: read_object(model / name) for name in PREPROCESSORS if exists(model / name)}
    refuse_code_from_elsewhere(config, *preprocessors.values())
    parts = {
        "format": str(FORMAT),
        "weights": digest_lines(f"{t.name} {t.dtype} {list(t.shape)} {digest}" for t, digest in sight),
        "tensors": str(len(sight)),
        "config": digest_of(forget(config)),
        "quantization": digest_of(quantization_of(config, is_quantized(stored))),
        "preprocessor": digest_of(preprocessors),
        "files": digest_files(model, (*RAW, "tokenizer.json") if prunes_videos else RAW),
        "dtype": dtype.removeprefix("torch."),
        **{f"engine.{name}": value for name, value in extra.items()},
    }
    return Fingerprint(digest_of(parts), parts)


def default_folder() -> Path:
    """For the digests of checkpoints in folders that are not ours to write."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "fovea" / "fingerprints"


def refuse_code_from_elsewhere(*configs: Mapping[str, Any]) -> None:
    """`auto_map` may name a class of another repository: "ORG/NAME--module.Class". Raises NoFingerprint."""
    for config in configs:
        if "--" in json.dumps(config.get("auto_map")):
            raise NoFingerprint("the checkpoint runs code of another repository")


def exists(path: Path) -> bool:
    """A link to nothing is a file that cannot be read."""
    return os.path.lexists(path)


def forget(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: forget(each) for name, each in value.items() if name not in FORGOTTEN}
    return [forget(each) for each in value] if isinstance(value, list) else value


def quantization_of(config: Mapping[str, Any], sight_is_quantized: bool) -> Any:
    """What the checkpoint says of its quantization, where that can concern its sight: methods other than
    compressed-tensors quantize plain weights while they are loaded, and its own does so to what has scales."""
    text = config.get("text_config")
    told = [each.get("quantization_config") for each in (config, text if isinstance(text, dict) else {})]
    methods = {each.get("quant_method") for each in told if isinstance(each, dict)}
    return None if methods <= {STORED_AS_TOLD} and not sight_is_quantized else told


def digest_files(folder: Path, patterns: tuple[str, ...]) -> str:
    paths = sorted(path for pattern in patterns for path in folder.glob(pattern))
    try:
        return digest_lines(f"{path.relative_to(folder)} {blake3(path.read_bytes()).hexdigest()}" for path in paths)
    except OSError as problem:
        raise NoFingerprint(f"{folder}: {problem.strerror}") from problem


def digest_lines(lines: Any) -> str:
    return digest_of(sorted(lines))


def digest_of(value: Any) -> str:
    return blake3(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
