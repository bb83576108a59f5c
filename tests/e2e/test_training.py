"""The training script in its own environment: seeded, and resumable without a trace."""

import os
import subprocess
from pathlib import Path

from quantize.checkpoint import read_tensors
from tests.conftest import DEMO_MODEL, ROOT

PYTHON = ROOT / ".venv" / "quantize" / "bin" / "python"


def train(out: Path, vision_steps: int, steps: int) -> str:
    command = [PYTHON, "-m", "demo.train", out, "--vision-steps", vision_steps, "--steps", steps, "--threads", 1]
    done = subprocess.run(
        list(map(str, command)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_resumed_training_ends_where_an_unbroken_one_does(tmp_path: Path) -> None:
    progress = train(tmp_path / "unbroken", 2, 1)
    assert "3/3" in progress
    train(tmp_path / "resumed", 2, 0)
    train(tmp_path / "resumed", 2, 1)
    one, other = (read_tensors(tmp_path / name) for name in ("unbroken", "resumed"))
    assert one.keys() == other.keys() == read_tensors(DEMO_MODEL).keys()
    assert [name for name in one if not one[name].equals(other[name])] == []


def test_training_writes_the_bundled_models_own_sidecars(tmp_path: Path) -> None:
    train(tmp_path, 1, 0)
    for name in ("config.json", "tokenizer.json", "chat_template.jinja", "preprocessor_config.json"):
        assert (tmp_path / name).read_bytes() == (DEMO_MODEL / name).read_bytes(), name
