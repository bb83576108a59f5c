"""Our programs as a user starts them: real processes, whose output is kept for a failure's message."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class ProcessFailed(Exception):
    """A program ended early, or did not say or do in time what was waited for; shows its last lines."""


class Running:
    """A process and what it has said. The output is drained always, so that it never blocks."""

    def __init__(self, module: str, *arguments: str, **environ: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environ},
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, pattern: str, timeout_s: float) -> re.Match[str]:
        """The first match in the output. Raises ProcessFailed when there is none in time."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if found := re.search(pattern, self.output):
                return found
            if self.process.poll() is not None:
                self._reader.join(5)
                if found := re.search(pattern, self.output):
                    return found
                raise ProcessFailed(f"ended with {self.process.returncode} before {pattern!r}:\n{self.tail()}")
            time.sleep(0.1)
        raise ProcessFailed(f"no {pattern!r} within {timeout_s} s:\n{self.tail()}")

    def tail(self) -> str:
        return "\n".join(self.lines[-40:])

    def finish(self, timeout_s: float) -> int:
        """Wait for the program to end by itself; its exit code. Raises ProcessFailed, having killed it."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise ProcessFailed(f"still runs after {timeout_s} s:\n{self.tail()}") from None
        self._reader.join(5)
        return code

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 90) -> int:
        """Send a signal and wait for the exit code; what does not stop is killed. Raises ProcessFailed."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.finish(timeout_s)


@contextmanager
def running(module: str, *arguments: str, **environ: str) -> Iterator[Running]:
    started = Running(module, *arguments, **environ)
    try:
        yield started
    finally:
        started.stop()
