import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from server.engine.encoder_cache.checkpoint import NoFingerprint
from server.engine.encoder_cache.engine_parts import parts_of_engine


@dataclass
class Multimodal:
    """As much of vLLM's as matters, and a field of a version to come."""

    limit_per_prompt: dict[str, int] = field(default_factory=dict)
    mm_processor_cache_gb: float = 4
    mm_processor_kwargs: dict[str, object] | None = None
    media_io_kwargs: dict[str, object] = field(default_factory=dict)
    mm_encoder_attn_backend: Any = None
    mm_encoder_attn_dtype: str | None = None
    mm_encoder_fp8_scale_path: str | None = None
    video_pruning_rate: float | None = None
    video_pruning_method: str = "evs"
    yet_to_come: str | None = None


def make_config(folder: Path, multimodal: Any = None, **changed: Any) -> Any:
    model = SimpleNamespace(
        model=str(folder), dtype="torch.bfloat16", multimodal_config=multimodal or Multimodal(), revision=None,
        architecture="A", model_impl="auto", hf_overrides={}, hf_config=SimpleNamespace(), quantization=None,
        hf_config_path=None,
    )  # fmt: skip
    config = SimpleNamespace(
        model_config=model, load_config=SimpleNamespace(load_format="auto", download_dir=None), lora_config=None
    )
    for name, value in changed.items():
        owner = config if hasattr(config, name) else model
        assert hasattr(owner, name)
        setattr(owner, name, value)
    return config


def extra_of(config: Any, **environ: str) -> dict[str, str]:
    return dict(parts_of_engine(config, {"vllm": "0.32.0"}, environ).extra)


def test_folder_dtype_and_revision_are_told(tmp_path: Path) -> None:
    parts = parts_of_engine(make_config(tmp_path), {"vllm": "0.32.0"}, {})
    assert (parts.model, parts.dtype) == (tmp_path, "torch.bfloat16")
    assert parts.extra["vllm"] == "0.32.0"


@pytest.mark.parametrize(
    "changed",
    [
        {"mm_processor_kwargs": {"max_pixels": 1}},
        {"media_io_kwargs": {"image": {"rgba_background_color": [0, 0, 0]}}},
        {"mm_encoder_attn_backend": SimpleNamespace(name="FLASH_ATTN")},
        {"mm_encoder_attn_dtype": "fp8"},
        {"video_pruning_rate": 0.5},
        {"yet_to_come": "x"},
    ],
)
def test_options_that_change_embeddings_are_parts(tmp_path: Path, changed: dict[str, Any]) -> None:
    plain, other = make_config(tmp_path), make_config(tmp_path, replace(Multimodal(), **changed))
    (name,) = changed
    assert name not in extra_of(plain)
    assert name in extra_of(other)


def test_options_that_change_none_are_not(tmp_path: Path) -> None:
    other = replace(Multimodal(), limit_per_prompt={"image": 1}, mm_processor_cache_gb=8, video_pruning_method="x")
    assert extra_of(make_config(tmp_path, other)) == extra_of(make_config(tmp_path))


def test_scales_of_the_encoder_are_what_is_in_their_file(tmp_path: Path) -> None:
    found = set()
    for text in ("1", "2", "1"):
        (tmp_path / "scales.json").write_text(text)
        multimodal = replace(Multimodal(), mm_encoder_fp8_scale_path=str(tmp_path / "scales.json"))
        found.add(extra_of(make_config(tmp_path, multimodal))["mm_encoder_fp8_scale_path"])
    assert len(found) == 2


def test_weights_that_are_quantized_while_they_are_loaded_are_others(tmp_path: Path) -> None:
    stored = SimpleNamespace(quantization_config={"quant_method": "compressed-tensors"})
    assert "quantization" not in extra_of(make_config(tmp_path))
    assert "quantization" not in extra_of(
        make_config(tmp_path, quantization="compressed-tensors", hf_config=stored)
    )
    assert json.loads(extra_of(make_config(tmp_path, quantization="fp8"))["quantization"]) == ["fp8", None]


def test_overrides_and_the_video_loader_are_parts(tmp_path: Path) -> None:
    assert extra_of(make_config(tmp_path, hf_overrides={"a": 1}))["hf_overrides"] == '{"a": 1}'
    assert extra_of(make_config(tmp_path), VLLM_VIDEO_LOADER_BACKEND="own")["video_loader"] == "own"


@pytest.mark.parametrize(
    "changed",
    [
        {"load_config": SimpleNamespace(load_format="dummy", download_dir=None)},
        {"lora_config": SimpleNamespace(enable_tower_connector_lora=True)},
        {"hf_config_path": "/elsewhere"},
        {"model": "Nobody/Has-This"},
        {"hf_overrides": lambda config: config},
        {"multimodal_config": replace(Multimodal(), yet_to_come=object())},  # type: ignore[arg-type]
        {"multimodal_config": replace(Multimodal(), mm_encoder_fp8_scale_path="/gone")},
    ],
)
def test_what_cannot_be_told_has_no_fingerprint(tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(NoFingerprint):
        extra_of(make_config(tmp_path, **changed), HF_HOME=str(tmp_path))


def test_adapters_of_the_language_model_alone_do_not_matter(tmp_path: Path) -> None:
    lora = SimpleNamespace(enable_tower_connector_lora=False)
    assert extra_of(make_config(tmp_path, lora_config=lora)) == extra_of(make_config(tmp_path))


def test_a_name_is_looked_for_in_the_hubs_own_cache_alone(tmp_path: Path) -> None:
    """Whatever that has may be another commit than what was loaded from elsewhere."""
    (tmp_path / "hub" / "models--Org--Name" / "snapshots" / "main").mkdir(parents=True)
    loaded = SimpleNamespace(load_format="auto", download_dir="/elsewhere")
    named = make_config(tmp_path, model="Org/Name")
    assert extra_of(named, HF_HOME=str(tmp_path))
    for config, environ in (
        (make_config(tmp_path, model="Org/Name", load_config=loaded), {}),
        (named, {"VLLM_USE_MODELSCOPE": "True"}),
    ):
        with pytest.raises(NoFingerprint, match="not in the hub's own cache"):
            extra_of(config, HF_HOME=str(tmp_path), **environ)
    assert extra_of(make_config(tmp_path, load_config=loaded))
