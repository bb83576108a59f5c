"""What of vLLM's configuration an embedding depends on: the checkpoint's folder, and those parts of its fingerprint
that the checkpoint does not tell."""

import dataclasses
import importlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

from server.engine.encoder_cache.checkpoint import NoFingerprint, find_checkpoint
from server.engine.encoder_cache.encoder_revision import digest_sources, versions
from server.engine.encoder_cache.fingerprint import Fingerprint, vision_fingerprint

# Those that read the files which a fingerprint is taken of.
LOAD_FORMATS = frozenset({"auto", "hf", "safetensors", "mistral", "fastsafetensors", "instanttensor", "pt"})
# Of its MultiModalConfig, what no embedding depends on. A field that is not here is a part.
IRRELEVANT = frozenset({
    "language_model_only", "limit_per_prompt", "enable_mm_embeds", "mm_processor_cache_gb",
    "mm_processor_cache_type", "mm_hasher_algorithm", "mm_shm_cache_max_object_size_mb", "mm_encoder_only",
    "mm_encoder_tp_mode", "mm_encoder_fp8_scale_path", "mm_encoder_fp8_scale_save_path",
    "mm_encoder_fp8_scale_save_margin", "interleave_mm_strings", "skip_mm_profiling", "mm_tensor_ipc",
    "allow_missing_mm_embeddings", "mm_ipc_gpu_memory_gb", "video_pruning_method",
})  # fmt: skip
SCALES = "mm_encoder_fp8_scale_path"
VIDEO_LOADER = "VLLM_VIDEO_LOADER_BACKEND"
MODELSCOPE = "VLLM_USE_MODELSCOPE"


@dataclass(frozen=True, slots=True)
class EngineParts:
    model: Path
    dtype: str
    extra: Mapping[str, str]


def fingerprint_of_engine(vllm_config: Any, environ: Mapping[str, str] = os.environ) -> Fingerprint:
    """The namespace of an engine's embeddings, by its VllmConfig (0.32).

    Raises NoFingerprint: it has none that would hold beyond this process.
    """
    parts = parts_of_engine(vllm_config, revision_of(vllm_config.model_config), environ)
    return vision_fingerprint(parts.model, parts.dtype, parts.extra)


def parts_of_engine(vllm_config: Any, revision: Mapping[str, str], environ: Mapping[str, str]) -> EngineParts:
    """`revision`: of the code. Raises NoFingerprint."""
    model, load_format = vllm_config.model_config, str(vllm_config.load_config.load_format)
    refuse_what_cannot_be_told(vllm_config, load_format, environ)
    extra = {
        **options_of(model.multimodal_config),
        "architecture": str(model.architecture),
        "model_impl": str(getattr(model.model_impl, "value", model.model_impl)),
        "hf_overrides": json.dumps(model.hf_overrides, sort_keys=True, default=refuse),
        "quantization": quantization_of(model),
        "video_loader": environ.get(VIDEO_LOADER, ""),
        **revision,
    }
    folder = find_checkpoint(str(model.model), environ, model.revision)
    return EngineParts(folder, str(model.dtype), {name: value for name, value in extra.items() if value})


def refuse_what_cannot_be_told(vllm_config: Any, load_format: str, environ: Mapping[str, str]) -> None:
    model, lora = vllm_config.model_config, vllm_config.lora_config
    if load_format not in LOAD_FORMATS:
        raise NoFingerprint(f"weights of the format {load_format} cannot be hashed")
    if model.multimodal_config is None:
        raise NoFingerprint("the model takes no pictures")
    if lora is not None and lora.enable_tower_connector_lora:
        raise NoFingerprint("adapters of the vision tower are known by name only")
    if model.hf_config_path not in (None, model.model):
        raise NoFingerprint("the model's config is read from elsewhere")
    elsewhere = vllm_config.load_config.download_dir or environ.get(MODELSCOPE, "").lower() in ("1", "true")
    if elsewhere and not Path(model.model).is_dir():
        raise NoFingerprint("the model is not in the hub's own cache")


def options_of(multimodal: Any) -> dict[str, str]:
    """Every field that is set and may matter; of the encoder's scales, what is in their file."""
    found = {}
    for field in dataclasses.fields(multimodal):
        value = getattr(multimodal, field.name)
        if field.name not in IRRELEVANT and value not in (None, {}, 0.0):
            found[field.name] = json.dumps(value, sort_keys=True, default=told)
    if path := getattr(multimodal, SCALES, None):
        found[SCALES] = digest_file(Path(path))
    if "video_pruning_rate" in found:
        found["video_pruning_method"] = str(multimodal.video_pruning_method)
    return found


def digest_file(path: Path) -> str:
    try:
        return blake3(path.read_bytes()).hexdigest()
    except OSError as problem:
        raise NoFingerprint(f"{path}: {problem.strerror}") from problem


def told(value: Any) -> str:
    """A member of an enum by its name, all else as it shows itself: never by its place in memory."""
    text = str(getattr(value, "name", value))
    return text if " at 0x" not in text else refuse(value)


def refuse(value: Any) -> str:
    raise NoFingerprint(f"an option of the type {type(value).__name__} cannot be told")


def quantization_of(model: Any) -> str:
    """While loading, of weights that the checkpoint has whole. Its own is told by its config."""
    stored = getattr(model.hf_config, "quantization_config", None) or {}
    method = stored.get("quant_method") if isinstance(stored, Mapping) else None
    online = model.quantization if model.quantization not in (None, method) else None
    given = getattr(model, "quantization_config", None)
    return "" if online is None and given is None else json.dumps([online, given], default=told, sort_keys=True)


def revision_of(model: Any) -> dict[str, str]:
    """Raises NoFingerprint where the class is none of vLLM's."""
    vllm = importlib.import_module("vllm")
    registered = model.registry.models.get(model.architecture)
    loaded = getattr(registered, "model_cls", None)
    named = str(getattr(registered, "module_name", None) or getattr(loaded, "__module__", model.architecture))
    sources = digest_sources(Path(str(vllm.__file__)).parent, named)
    return {"vllm": str(vllm.__version__), "sources": sources, "versions": versions()}
