"""`fovea-quantize run` on the demo model, with real llm-compressor."""

import json
import subprocess
import sys
from pathlib import Path

from quantize.checkpoint import read_tensors, sidecar_files
from tests.conftest import DEMO_MODEL


def test_linear_layers_of_the_language_model_become_fp8_and_nothing_else(quantized: tuple[Path, str]) -> None:
    before, after = read_tensors(DEMO_MODEL), read_tensors(quantized[0])
    became_fp8 = {name for name, tensor in after.items() if tensor.dtype == "F8_E4M3"}
    expected = {
        name
        for name, tensor in before.items()
        if ".language_model.layers." in name and len(tensor.shape) == 2 and ".linear_attn." not in name
    }
    assert became_fp8 == expected != set()
    for name, tensor in before.items():
        assert name in became_fp8 or after[name].equals(tensor), name


def test_codes_and_scales_are_the_published_arithmetic(quantized: tuple[Path, str]) -> None:
    """scale = absmax / 448 a row, in BF16, so that the largest code of every row is at or next to 448."""
    after = read_tensors(quantized[0])
    scales = {name for name in after if name.endswith(".weight_scale")}
    assert scales
    for name in scales:
        weight, scale = after[name.removesuffix("_scale")], after[name]
        assert (scale.dtype, scale.shape) == ("BF16", (weight.shape[0], 1))
        codes, row = weight.read(), weight.shape[1]
        for start in range(0, len(codes), row):
            largest = max(code & 0x7F for code in codes[start : start + row])
            assert 0x7D <= largest <= 0x7E  # 416 and 448 in E4M3; 0x7F is NaN


def test_every_other_file_is_carried_over_byte_for_byte(quantized: tuple[Path, str]) -> None:
    names = {path.relative_to(DEMO_MODEL) for path in sidecar_files(DEMO_MODEL)}
    assert names == {path.relative_to(quantized[0]) for path in sidecar_files(quantized[0])}
    for name in names:
        assert (quantized[0] / name).read_bytes() == (DEMO_MODEL / name).read_bytes()


def test_the_config_gains_its_quantization_and_keeps_the_rest(quantized: tuple[Path, str]) -> None:
    before = json.loads((DEMO_MODEL / "config.json").read_text())
    after = json.loads((quantized[0] / "config.json").read_text())
    added = after.pop("quantization_config")
    assert after == before
    assert added["quant_method"] == "compressed-tensors"
    assert added["ignore"] == ["re:.*lm_head", "re:.*visual.*", "re:.*linear_attn.*"]


def test_the_summary_is_true(quantized: tuple[Path, str]) -> None:
    before, after = read_tensors(DEMO_MODEL), read_tensors(quantized[0])
    sizes = [sum(tensor.size for tensor in tensors.values()) for tensors in (before, after)]
    assert f"weights: {sizes[0]:,} -> {sizes[1]:,} bytes" in quantized[1]
    assert sizes[1] < 0.8 * sizes[0]


def test_a_second_run_refuses_to_overwrite(quantized: tuple[Path, str]) -> None:
    stamp = (quantized[0] / "model.safetensors").stat().st_mtime_ns
    again = subprocess.run(
        [sys.executable, "-m", "quantize.cli", "run", str(DEMO_MODEL), str(quantized[0])],
        capture_output=True,
        text=True,
    )
    assert (again.returncode, "exists already" in again.stderr) == (2, True)
    assert (quantized[0] / "model.safetensors").stat().st_mtime_ns == stamp
