"""The README's first command, as a newcomer types it, prints what the README says."""

import re
import subprocess

from tests.conftest import ROOT


def shape_of(text: str) -> list[str]:
    """Lines with every number taken out: runs differ in times and ports only."""
    return [re.sub(r"[\d.,]+", "#", line.rstrip()) for line in text.splitlines() if line.strip()]


def test_make_demo_prints_right_answers_a_hit_and_what_the_readme_shows() -> None:
    done = subprocess.run(["make", "demo"], cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("(right;") == 6
    assert done.stdout.count("embedding: miss)") == 5
    block = re.search(r"```\n(== Quantize.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    printed = shape_of(done.stdout)
    assert [line for line in shape_of(block.group(1)) if line not in printed] == []
