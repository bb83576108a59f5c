"""Bytes held: however large the checkpoint, a plan reads headers and a run a few rows at a time."""

import subprocess
import sys
from pathlib import Path

from tests.unit.quantize.checkpoints import LAYER, write_checkpoint, write_hollow
from tests.unit.quantize.test_plan import write_qwen3_5_9b

# Not getrusage: its peak begins at that of the process that this one was forked from.
PEAK = """
import sys
from quantize.cli import app
app(sys.argv[1:], standalone_mode=False)
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")), file=sys.stderr)
"""


def peak_mb(*arguments: object) -> float:
    """What `fovea-quantize` with these arguments held at most."""
    command = [sys.executable, "-c", PEAK, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stderr.split()[-2]) / 1024


def test_a_plan_of_19_gb_takes_less_than_200_mb(tmp_path: Path) -> None:
    assert peak_mb("plan", write_qwen3_5_9b(tmp_path / "9b", mtp=True), "--json") < 200


def test_a_run_holds_less_than_its_largest_matrix(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", {})
    shape = (16384, 8192)
    write_hollow(folder / "model.safetensors", [(f"{LAYER}.mlp.up_proj.weight", "BF16", shape)])
    matrix_mb = 2 * shape[0] * shape[1] / 1024**2
    assert matrix_mb == 256
    assert peak_mb("run", folder, tmp_path / "out", "--workers", "2") < 150
