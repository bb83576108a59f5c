"""What `fovea engine` says of GPUs before vLLM is loaded: through the real launcher, NVML's library a stand-in."""

import re
from pathlib import Path

import pytest

from demo.processes import Running
from server.together import free_port
from tests.fakes.nvml import NO_DRIVER, TWO_GPUS, build_stub
from tests.unit.engine.test_checkpoint_policy import write

FP8 = {"quantization_config": {"config_groups": {"g": {"weights": {"type": "float", "num_bits": 8}}}}}
# Instead of an interpreter that has vLLM's build for CUDA: says that it does, and that it was to load the model.
VLLM = """#!/bin/sh
if [ "$1" = -c ]; then echo '{"name": "vllm", "version": "0.32.0"}'; else echo "vLLM WAS STARTED"; exit 7; fi
"""


def start(folder: Path, scene: dict[str, str], *options: str, **environ: str) -> tuple[int, str]:
    """The exit code and all that was said."""
    (folder / "nvml").mkdir()
    stub = build_stub(folder / "nvml", {**TWO_GPUS, "cuda": "0 13000", **scene})
    python = folder / "python"
    python.write_text(VLLM)
    python.chmod(0o755)
    checkpoint = write(folder / "checkpoint", config=FP8)
    environ |= {"LD_LIBRARY_PATH": str(stub), "FOVEA_ENGINE_PYTHON": str(python)}
    arguments = ("engine", "--model", str(checkpoint), "--port", str(free_port()), *options)
    engine = Running("server", *arguments, **environ)
    return engine.finish(120), engine.output


@pytest.mark.parametrize(
    ("scene", "options", "says"),
    [
        ({"capability": "0 7 0"}, (), "has compute capability 7.0, and vLLM runs FP8, INT8 and 4-bit weights from"),
        ({"capability": "0 9 0"}, ("--tensor-parallel-size", "4"), "(--tensor-parallel-size 4) and sees 2"),
    ],
)
def test_what_cannot_be_is_one_sentence_before_vllm_is_loaded(
    tmp_path: Path, scene: dict[str, str], options: tuple[str, ...], says: str
) -> None:
    code, output = start(tmp_path, scene, *options)
    assert code == 2
    assert re.fullmatch(r"fovea: [^\n]*\.", output)
    assert says in output


def test_on_ampere_it_says_once_what_fp8_is_there_and_starts(tmp_path: Path) -> None:
    code, output = start(tmp_path, {"capability": "0 8 0"})
    assert (code, "vLLM WAS STARTED" in output) == (7, True)
    assert output.count("FP8 weights run as W8A16 there") == 1


@pytest.mark.parametrize("scene", [{"init": NO_DRIVER}, {"capability": "0 9 0", "mig": "0 1", "memory": "0 100 0"}])
def test_what_is_not_known_is_left_to_vllm(tmp_path: Path, scene: dict[str, str]) -> None:
    code, output = start(tmp_path, scene)
    assert (code, "vLLM WAS STARTED" in output) == (7, True)
    assert "compute capability" not in output
