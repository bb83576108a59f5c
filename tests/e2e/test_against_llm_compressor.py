"""The streaming writer against llm-compressor's `oneshot`: the same tensors, bit for bit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from quantize.architecture import find_architecture
from quantize.checkpoint import read_config, read_tensors
from quantize.llm_compressor import make_job
from quantize.plan import make_plan
from quantize.recipe import read_recipe
from tests.conftest import DEMO_MODEL, ROOT
from tests.e2e.conftest import QUANTIZE_PYTHON


def run(source: Path, out: Path, *options: str) -> None:
    command = [sys.executable, "-m", "quantize.cli", "run", source, out, *options]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def differing(ours: Path, theirs: Path) -> list[str]:
    a, b = read_tensors(ours), read_tensors(theirs)
    assert sum(tensor.dtype == "F8_E4M3" for tensor in a.values()) > 0
    return [name for name in a.keys() | b.keys() if name not in a or name not in b or not a[name].equals(b[name])]


@pytest.mark.parametrize(
    ("toy", "recipe"),
    [
        ("dense", "fp8-dynamic-compact"),
        ("dense-tied-fp16", "fp8-dynamic-compact"),
        ("moe", "fp8-dynamic-balanced"),
    ],
)
def test_both_engines_make_the_same_checkpoint(toys: Path, tmp_path: Path, toy: str, recipe: str) -> None:
    run(toys / toy, tmp_path / "ours", "--recipe", recipe)
    run(toys / toy, tmp_path / "theirs", "--recipe", recipe, "--engine", "llmcompressor")
    assert differing(tmp_path / "ours", tmp_path / "theirs") == []
    assert read_config(tmp_path / "ours") == read_config(tmp_path / "theirs")


def test_the_demo_checkpoint_is_what_oneshot_makes_of_it(quantized: tuple[Path, str], tmp_path: Path) -> None:
    """Given the published three ignores. Its config differs in those (it expands them) and in its version."""
    ignore = ["re:.*lm_head", "re:.*visual.*", "re:.*linear_attn.*"]
    plan = make_plan(DEMO_MODEL, read_recipe("fp8-dynamic"), find_architecture(read_config(DEMO_MODEL)))
    job = {**make_job(plan, None), "ignore": ignore}
    command = [QUANTIZE_PYTHON, "-m", "quantize.compress", DEMO_MODEL, tmp_path / "theirs", json.dumps(job)]
    subprocess.run(command, check=True, cwd=ROOT)
    assert differing(quantized[0], tmp_path / "theirs") == []
    ours, theirs = (read_config(path)["quantization_config"] for path in (quantized[0], tmp_path / "theirs"))
    for own in ("ignore", "version"):
        del ours[own], theirs[own]
    assert ours == theirs
