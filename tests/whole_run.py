"""Run every test; what fails is asked once more, alone and in a new process, and said to be unsteady if it passes.

The whole takes three quarters of an hour on two cores, with real engines; a machine that stands still for seconds
breaks one test in thousands. Such a test is a defect of ours: it is named at the end, to be mended. More than a few
failures are never asked again.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

MOST_ASKED_AGAIN = 3
TESTS_FAILED = 1  # pytest's exit status for it, and for nothing else
LAST_FAILED = ".pytest_cache/v/cache/lastfailed"


def main(arguments: Sequence[str], folder: Path) -> int:
    pytest = [sys.executable, "-m", "pytest", *arguments]
    status = subprocess.run(pytest, cwd=folder).returncode
    if status != TESTS_FAILED:
        return status
    failed = sorted(json.loads((folder / LAST_FAILED).read_text()))
    if len(failed) > MOST_ASKED_AGAIN:
        return status
    print(f"\n{len(failed)} failed: once more, alone.", flush=True)
    again = subprocess.run([*pytest, "--last-failed", "--last-failed-no-failures=none"], cwd=folder).returncode
    if again == 0:
        for test in failed:
            print(f"UNSTEADY: {test} failed, and passed when it was run again alone. Mend it.")
    return again


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))
