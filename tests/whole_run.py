"""Run every test: lanes side by side (tests/lanes.py), then what bears nothing beside it.

Tests wait more than they compute: one after the other they leave half of two cores idle. The engines' lane gives
way to the others, whose tests are the quicker ones to lose patience, and those of gateways are the quickest.

What fails is asked once more, alone and in a new process, and said to be unsteady if it passes: a machine that
stands still for seconds breaks one test in thousands. Such a test is a defect of ours, named at the end, to be
mended. More than a few failures are never asked again.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.lanes import ALONE, SIDE_BY_SIDE

MOST_ASKED_AGAIN = 3
TESTS_FAILED, NO_TESTS = 1, 5  # pytest's exit statuses, and for nothing else
NICENESS = {"engines": 10, "rest": 5}


class Lane:
    """Tests of one lane in a process of their own; their lines are told under the lane's name."""

    def __init__(self, name: str, arguments: Sequence[str], folder: Path) -> None:
        self._name = name
        self._folder = folder
        self._cache = folder / ".pytest_cache" / name
        own = ("-p", "tests.lanes", f"--lane={name}", "-o", f"cache_dir={self._cache}")
        self._pytest = [sys.executable, "-m", "pytest", *own, *arguments]
        self._process = self._start(self._pytest)
        self._telling = threading.Thread(target=self._tell)
        self._telling.start()

    def wait(self) -> int:
        """pytest's exit status."""
        self._telling.join()
        return self._process.wait()

    def failed(self) -> list[str]:
        return sorted(json.loads((self._cache / "v/cache/lastfailed").read_text()))

    def again(self) -> int:
        """Those that failed."""
        again = [*self._pytest, "--last-failed", "--last-failed-no-failures=none"]
        return subprocess.run(again, cwd=self._folder).returncode

    def _start(self, command: Sequence[str]) -> subprocess.Popen[str]:
        polite = ["nice", "-n", str(NICENESS.get(self._name, 0))]
        # In a session of its own, tests could not be stopped with Ctrl-C.
        return subprocess.Popen(
            [*polite, *command],
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )

    def _tell(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            print(f"{self._name:8} | {line}", end="", flush=True)


def main(arguments: Sequence[str], folder: Path, alone: Sequence[str] = ALONE) -> int:
    lanes = [Lane(name, arguments, folder) for name in SIDE_BY_SIDE]
    statuses = [lane.wait() for lane in lanes]
    if alone:
        lanes.append(Lane("alone", [*arguments, *alone], folder))
        statuses.append(lanes[-1].wait())
    if all(status == NO_TESTS for status in statuses):
        return NO_TESTS
    if worse := [status for status in statuses if status not in (0, TESTS_FAILED, NO_TESTS)]:
        return worse[0]
    broken = [lane for lane, status in zip(lanes, statuses, strict=True) if status == TESTS_FAILED]
    failed = [test for lane in broken for test in lane.failed()]
    if not failed:
        return 0
    print(f"\n{len(failed)} failed:", *failed, sep="\n  ", flush=True)
    if len(failed) > MOST_ASKED_AGAIN:
        return TESTS_FAILED
    print("Once more, alone.", flush=True)
    if any(lane.again() for lane in broken):
        return TESTS_FAILED
    for test in failed:
        print(f"UNSTEADY: {test} failed, and passed when it was run again alone. Mend it.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:], Path.cwd()))
    except KeyboardInterrupt:  # the lanes were told, too
        sys.exit(130)
