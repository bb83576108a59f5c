"""A folder of embeddings under several processes at once, and under their violent ends."""

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.e2e.embedding_folder import CAPACITY, NAMES

ENGINE_PYTHON = ROOT / ".venv" / "engine" / "bin" / "python"
KILLS = 200


def test_200_writers_killed_at_random_points_leave_nothing_wrong_and_nothing_behind(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "tests.e2e.embedding_folder", str(tmp_path / "folder"), str(KILLS), "7"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["died"] == 0, "a writer ended by itself: " + done.stderr
    assert seen["torn"] > 20, "too few were killed in the middle of a write to show anything"
    # At every moment, whoever wrote and died.
    assert 0 < seen["most"] <= CAPACITY
    assert seen["understated"] == 0
    # And what the next engine finds.
    assert seen["bad"] == 0
    assert seen["parts"] == 0
    assert 0 < seen["held"] <= CAPACITY
    assert 0 < seen["found"] <= seen["entries"] < len(NAMES)


def test_a_deletion_holds_for_what_waits_to_be_written_and_not_for_what_is_encoded_later(tmp_path: Path) -> None:
    program = [ENGINE_PYTHON, "-m", "tests.e2e.save_and_forget", str(tmp_path / "folder")]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"before": False, "after": True}
