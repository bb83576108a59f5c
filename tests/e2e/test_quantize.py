"""`fovea-quantize run` on the demo model, and real vLLM on what it makes."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from demo.ask import ask_all
from demo.processes import Running, running
from demo.run import PICTURES
from quantize.checkpoint import read_tensors, sidecar_files
from quantize.evaluate.own_questions import OwnQuestions
from quantize.evaluate.score import mark
from server.together import free_port
from tests.conftest import DEMO_MODEL, ENGINE_START_S


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
    assert all(pattern.startswith("re:") for pattern in added["ignore"])
    assert {"re:.*lm_head.*", "re:.*visual.*", "re:.*linear_attn.*"} <= set(added["ignore"])


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


def test_vllm_serves_the_smallest_recipe_too(tmp_path: Path) -> None:
    """FP8 linear attention and lm_head: no stock recipe has them, so that they load is shown here."""
    out = tmp_path / "compact"
    made = Running("quantize.cli", "run", str(DEMO_MODEL), str(out), "--recipe", "fp8-dynamic-compact")
    assert made.finish(120) == 0, made.tail()
    port = free_port()
    with running("server", "up", "--model", str(out), "--name", "compact", "--port", str(port)) as up:
        up.wait_for(r"fovea   \| ready: ", ENGINE_START_S)
        bundled = OwnQuestions(PICTURES / "questions.jsonl", PICTURES)
        items = [bundled.item(key) for key in bundled.keys]
        answers = asyncio.run(ask_all(f"http://127.0.0.1:{port}/v1", "compact", items))
    assert sum(mark(answer, item.truth).right for answer, item in zip(answers, items, strict=True)) >= 4
