"""`fovea-quantize sensitivity` on the demo model, with real torch and transformers."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from quantize.checkpoint import read_tensors
from tests.conftest import DEMO_MODEL, ROOT

PICTURES = ROOT / "demo" / "pictures"


def run(out: Path, *more: object) -> subprocess.CompletedProcess[str]:
    command = ["sensitivity", DEMO_MODEL, "--calib", PICTURES, "--most", 2, "--scheme", "int4", "--out", out, *more]
    return subprocess.run(
        [sys.executable, "-m", "quantize.cli", *map(str, command)], capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("sensitivity")
    done = run(out)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def kinds_of(out: Path) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads((out / "sensitivity.json").read_text())["kinds"]
    return content


def test_every_weight_matrix_belongs_to_one_kind(measured: tuple[Path, str]) -> None:
    matrices = {
        name: tensor
        for name, tensor in read_tensors(DEMO_MODEL).items()
        if len(tensor.shape) > 1 and "conv1d" not in name
    }
    kinds = kinds_of(measured[0])
    assert sum(kind["modules"] for kind in kinds) == len(matrices)
    assert sum(kind["parameters"] for kind in kinds) == sum(tensor.size // 2 for tensor in matrices.values())


def test_only_vision_modules_touch_image_embeddings(measured: tuple[Path, str]) -> None:
    for kind in kinds_of(measured[0]):
        if "visual" in kind["kind"]:
            assert 5 < kind["snr_db"] < 60
            assert kind["cosine"] < 1
        else:
            assert kind["snr_db"] is None
        assert kind["kl"] > 0 or kind["parameters"] < 5000


def test_kinds_are_ranked_and_shown(measured: tuple[Path, str]) -> None:
    out, output = measured
    kinds = kinds_of(out)
    assert [kind["kl"] for kind in kinds] == sorted((kind["kl"] for kind in kinds), reverse=True)
    page = (out / "sensitivity.html").read_text()
    for kind in kinds:
        assert kind["kind"] in output
        assert kind["kind"] in page
    assert page.count("<svg") == len(kinds)


def test_a_broken_run_goes_on(measured: tuple[Path, str]) -> None:
    out, _ = measured
    lines = (out / "kinds.jsonl").read_text().splitlines(keepends=True)
    (out / "kinds.jsonl").write_text("".join(lines[:-2]))
    done = run(out)
    assert done.returncode == 0, done.stderr
    assert f"going on: {len(lines) - 3} kinds are in" in done.stdout
    again = (out / "kinds.jsonl").read_text().splitlines(keepends=True)
    assert again[:-2] == lines[:-2]
    assert [json.loads(line)["kind"] for line in again[-2:]] == [json.loads(line)["kind"] for line in lines[-2:]]


def test_other_pictures_are_another_run_and_a_folder_without_pictures_is_refused(
    measured: tuple[Path, str], tmp_path: Path
) -> None:
    done = run(measured[0], "--most", 1)
    assert (done.returncode, "pictures differ" in done.stderr) == (2, True)
    words = tmp_path / "words"
    words.mkdir()
    (words / "notes.md").write_text("no picture")
    done = run(tmp_path / "out", "--calib", words)
    assert (done.returncode, "holds no picture" in done.stderr) == (2, True)


def test_fp8_rounding_is_what_the_real_checkpoint_holds(quantized: tuple[Path, str]) -> None:
    """Each FP8 weight of llm-compressor's, times its scale, is our rounding of the original, to the bit."""
    script = """
import sys
from safetensors.torch import load_file
from quantize.rounding import rounded, stored_bytes
before, after = (load_file(f"{folder}/model.safetensors") for folder in sys.argv[1:])
names = [name for name, tensor in after.items() if "float8" in str(tensor.dtype)]
assert len(names) > 10
for name in names:
    codes, scale = after[name], after[name + "_scale"]
    assert (codes.to(scale.dtype) * scale).equal(rounded(before[name], "fp8")), name
    size = codes.numel() + 2 * scale.numel()
    assert stored_bytes(tuple(codes.shape), "fp8") == size
for scheme, most in (("int8", 127), ("int4", 7)):
    weight = before[names[0]].float()
    error = (rounded(weight, scheme) - weight).abs()
    step = weight.abs().amax(dim=1, keepdim=True) / most
    assert (error <= 0.5001 * step).all() and error.max() > 0
"""
    command = [ROOT / ".venv/quantize/bin/python", "-c", script, DEMO_MODEL, quantized[0]]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
