"""How an engine ends: told to stop, killed, or by itself; nothing that it started lives on."""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from typing import Any

SPARE_STOP_S = 15
ORPHANS_S = 5  # a server killed outright leaves its workers behind; they get this long to notice
PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """In the child, before exec: if the launcher is killed outright, the engine must not live on unseen."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Stop:
    """Passes on what we are told. SIGTERM: not healthy at once, after the grace nothing new, and told to stop when
    nothing runs any more or `drain_s` is over (`inside/fovea_leaving`); SIGINT: told to stop; a second signal:
    ended, whatever runs."""

    def __init__(self, process: "subprocess.Popen[bytes]", grace_s: float, drain_s: float) -> None:
        self._process = process
        # What is next for an engine that leaves, and when.
        self._steps = [(0.0, signal.SIGUSR1), (grace_s, signal.SIGUSR2), (grace_s + drain_s, signal.SIGTERM)]
        self._leaves = False
        self.asked: list[float] = []
        self.serves = False

    def hear(self, number: int, _: Any) -> None:
        self.asked.append(time.monotonic())
        if len(self.asked) > 1:
            end_group(self._process.pid)
        elif number == signal.SIGTERM and self.serves:
            self._leaves = True
            self.look()
        else:
            self._tell(signal.SIGTERM)

    def look(self) -> None:
        while self._leaves and self._steps and time.monotonic() - self.asked[0] >= self._steps[0][0]:
            self._tell(self._steps.pop(0)[1])

    def _tell(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)


def wait_for_end(process: "subprocess.Popen[bytes]", stop: Stop, stop_s: float) -> int:
    """Wait for the server, then see to it that none of its workers lives on without it."""
    while True:
        try:
            code = process.wait(timeout=0.2)
            break
        except subprocess.TimeoutExpired:
            stop.look()
            if stop.asked and time.monotonic() - stop.asked[0] > stop_s:
                end_group(process.pid)
    deadline = time.monotonic() + ORPHANS_S
    while group_lives(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    end_group(process.pid)
    return code


def end_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
