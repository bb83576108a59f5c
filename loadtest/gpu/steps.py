"""Which steps there are, and how they are run: each in a process, within the time that is left, once.

Needs no torch: whoever runs `python -m loadtest.gpu` where there is none is told so.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.gpu.notes import Notes

MACHINE = "machine"
# In the order in which they are run: what needs no checkpoint comes first, and each leaves one file.
STEPS = ("ceilings", "by_shape", "vision", "checkpoint", "weights", "forward", "served")
# These read the checkpoints, which lie on one machine's disk: files of figures alone do not bring them back.
READERS = ("weights", "forward", "served")
MAKER = "checkpoint"
LEAST_S = 15.0  # less is no use beginning a step with
SHOWN_LINES = 15
LATE = "not done in time; the next call goes on"


@dataclass(frozen=True, slots=True)
class Runner:
    """`deadline`: by the monotonic clock; `arguments`: for each step's process."""

    out: Path
    build: Path
    arguments: tuple[str, ...]
    machine: dict[str, Any]
    deadline: float
    say: Callable[[str], None]

    def run(self, names: list[str]) -> list[str]:
        """Those that failed or were not finished. What is done already is left as it is."""
        return [name for name in names if not self._is_done(name, names) and not self._run_one(name)]

    def _is_done(self, name: str, names: list[str]) -> bool:
        if name == MAKER and any(reader in names and not self._has(reader) for reader in READERS):
            return False
        if done := self._has(name):
            self.say(f"{name}: done already")
        return done

    def _has(self, name: str) -> bool:
        return Notes(self.out / f"{name}.json", self.machine).done

    def _run_one(self, name: str) -> bool:
        left = self.deadline - time.monotonic()
        if left < LEAST_S:
            self.say(f"{name}: left for the next call, the time is up")
            return False
        self.say(f"{name} ({left:.0f} s are left)")
        self.build.mkdir(parents=True, exist_ok=True)
        log = self.build / f"{name}.err"
        folders = ["--out", str(self.out), "--build", str(self.build)]
        with log.open("w") as errors:
            command = [sys.executable, "-m", "loadtest.gpu.step", name, *folders, *self.arguments]
            why = _run_within(command, errors, left)
        if why is None:
            return True
        said = log.read_text(errors="replace").strip().splitlines()[-SHOWN_LINES:]
        self.say("\n".join([f"{name}: {why}", *said]))
        Notes(self.out / f"{name}.json", self.machine).fail(why if why == LATE or not said else said[-1])
        return False


def _run_within(command: list[str], errors: Any, seconds: float) -> str | None:
    """Why it did not end well, if it did not. All that it has started ends with it."""
    process = subprocess.Popen(command, stderr=errors, start_new_session=True)
    try:
        code = process.wait(seconds)
    except (subprocess.TimeoutExpired, KeyboardInterrupt, SystemExit) as stopped:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if isinstance(stopped, subprocess.TimeoutExpired):
            return LATE
        raise
    return f"exit code {code}" if code else None
