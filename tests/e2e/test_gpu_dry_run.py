import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from loadtest.gpu.amounts import DRY
from loadtest.gpu.products import NARROW, list_kinds
from tests.conftest import ROOT
from tests.e2e.conftest import QUANTIZE_PYTHON

NO_GPU = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [QUANTIZE_PYTHON, "-m", "loadtest.gpu", *arguments]
    return subprocess.run(command, cwd=ROOT, env=NO_GPU, capture_output=True, text=True, timeout=500)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("gpu")
    return folder / "figures", folder / "build"


@pytest.fixture(scope="module")
def dry_run(folders: tuple[Path, Path]) -> subprocess.CompletedProcess[str]:
    out, build = folders
    return run("--dry-run", "--out", out, "--build", build)


def records(folders: tuple[Path, Path], step: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folders[0] / f"{step}.json").read_text())
    assert found["done"], found
    assert "gpu" not in found["machine"]
    records: dict[str, Any] = found["records"]
    return records


def test_a_dry_run_of_the_proof_on_a_gpu_measures_all_of_it_with_a_toy(
    dry_run: subprocess.CompletedProcess[str], folders: tuple[Path, Path]
) -> None:
    assert dry_run.returncode == 0, dry_run.stdout + dry_run.stderr
    names = ["bf16", *DRY.recipes]
    stages = {f"decode {n}" for n in DRY.decode} | {f"prefill {n}" for n in DRY.prefill}
    assert set(records(folders, "ceilings")) == {"copy", "product"}
    assert list(records(folders, "checkpoint")) == names
    assert set(records(folders, "forward")) == stages
    assert set(records(folders, "vision")) == {str(side) for side in DRY.sides}
    kinds = {kind.name for kind in list_kinds(DRY.sizes)} - {NARROW}
    shapes = records(folders, "by_shape")
    assert {each["kind"] for each in shapes.values()} == kinds
    assert all(0 < each["error"] < 0.01 for each in shapes.values())
    weights = records(folders, "weights")
    assert weights["fp8-dynamic"]["stored"] < weights["bf16"]["stored"]
    page = (folders[0] / "page.md").read_text()
    assert "These figures mean nothing" in page
    assert page.count("*Pending.*") == 1  # vLLM


def test_the_toys_checkpoint_holds_what_it_weighs(
    dry_run: subprocess.CompletedProcess[str], folders: tuple[Path, Path]
) -> None:
    assert dry_run.returncode == 0, dry_run.stdout + dry_run.stderr
    weights, written = records(folders, "weights"), records(folders, "checkpoint")
    for name in ("bf16", *DRY.recipes):
        assert weights[name]["stored"] == written[name]["nbytes"]


def test_the_same_command_again_finds_all_of_it_done(
    dry_run: subprocess.CompletedProcess[str], folders: tuple[Path, Path]
) -> None:
    assert dry_run.returncode == 0, dry_run.stdout + dry_run.stderr
    out, build = folders
    again = run("--dry-run", "--out", out, "--build", build)
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count("done already") == 6


def test_without_a_gpu_the_real_one_says_that_it_is_skipped(tmp_path: Path) -> None:
    done = run("--out", tmp_path / "figures", "--build", tmp_path / "build", "--docs", tmp_path / "docs")
    assert done.returncode == 0, done.stderr
    assert "SKIPPED: no GPU" in done.stdout
    assert not list(tmp_path.iterdir())


NOTED = """
from loadtest.gpu.bench import Failures, StepFailed
failures = Failures()
for problem in (RuntimeError("no kernel\\nand more"), ValueError("a shape"), RuntimeError(), StepFailed("off")):
    with failures.note("x"):
        raise problem
try:
    failures.end()
except StepFailed as failure:
    print(failure)
"""


def test_what_torch_refuses_is_noted_by_itself_whatever_it_raises() -> None:
    done = subprocess.run([QUANTIZE_PYTHON, "-c", NOTED], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "x: no kernel; x: a shape; x: RuntimeError; and 1 more\n"
