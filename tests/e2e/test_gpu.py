"""The CUDA build on a GPU. Everything it does is exercised on the CPU by the other tests here."""

import shutil
import subprocess
from pathlib import Path

import pytest

from demo.processes import running
from server.engine.vllm_build import LaunchError, find_python, inspect_build
from server.together import free_port
from tests.conftest import ENGINE_START_S


def gpu() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    return done.stdout.strip() or None if done.returncode == 0 else None


@pytest.mark.skipif(gpu() is None, reason="SKIPPED: no GPU")
def test_the_fp8_checkpoint_is_served_on_a_gpu(quantized: tuple[Path, str]) -> None:
    try:
        build = inspect_build(find_python({}))
    except LaunchError as problem:
        pytest.fail(str(problem))
    assert build.device == "cuda", "this machine has a GPU: install fovea[engine-cuda]"
    with running("server", "up", "--model", str(quantized[0]), "--port", str(free_port())) as up:
        up.wait_for(r"fovea   \| ready: ", ENGINE_START_S)
