"""Compressed embeddings: how far off they may be, in an environment with torch."""

import json
import subprocess

from tests.conftest import ROOT

ENGINE_PYTHON = ROOT / ".venv" / "engine" / "bin" / "python"


def test_every_element_comes_back_within_the_bounds_and_what_is_not_finite_is_not_kept() -> None:
    done = subprocess.run(
        [ENGINE_PYTHON, "-m", "tests.e2e.squeeze_many"], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told.pop("made") > 150
    assert set(told.values()) == {0}, told
