"""The namespace of embeddings, of the bundled model and of what is made of it."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from quantize.checkpoint import read_tensors
from server.engine.encoder_cache.fingerprint import vision_fingerprint
from server.engine.launch import STARTUP_FOLDER
from tests.conftest import DEMO_MODEL, ROOT

ENGINE_PYTHON = ROOT / ".venv" / "engine" / "bin" / "python"


def test_a_bf16_checkpoint_and_its_fp8_child_share_one_and_a_flipped_bit_has_another(
    quantized: tuple[Path, str], tmp_path: Path
) -> None:
    """On real vLLM's configuration of each; as many tensors as verify finds bit-identical."""
    flipped = flip_one_bit(tmp_path / "flipped")
    parts = parts_in_vllm(DEMO_MODEL, quantized[0], flipped)
    assert parts[0] == parts[1]
    assert {name for name in parts[0] if parts[0][name] != parts[2][name]} == {"weights"}
    assert f"vision tower bit-identical: {parts[0]['tensors']} tensors" in quantized[1]
    assert vision_fingerprint(DEMO_MODEL, "bfloat16", {}).parts["weights"] == parts[0]["weights"]


def flip_one_bit(folder: Path) -> Path:
    shutil.copytree(DEMO_MODEL, folder)
    tensor = read_tensors(folder)["model.visual.blocks.0.attn.qkv.weight"]
    with tensor.file.open("rb+") as stream:
        stream.seek(tensor.start + tensor.size // 2)
        (byte,) = stream.read(1)
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte ^ 1]))
    return folder


def parts_in_vllm(*folders: Path) -> list[dict[str, str]]:
    environ = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": f"{STARTUP_FOLDER}{os.pathsep}{ROOT}"}
    command = [str(ENGINE_PYTHON), "-m", "tests.e2e.fingerprint_in_vllm", *map(str, folders)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environ, cwd=ROOT)
    found = json.loads(done.stdout.splitlines()[-1])
    return [found[str(folder)] for folder in folders]
