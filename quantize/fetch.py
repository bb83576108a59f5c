"""One file fetched from an origin: from where an earlier try stopped, as often as it takes, hashed as it comes."""

import contextlib
import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from quantize.errors import PullFailed
from quantize.origins.origin import Origin, SourceFile, SourceLost

TRIES = 5  # in a row, without a byte
FIRST_WAIT_S = 1.0
READ_BYTES = 1 << 20
SAID_EVERY_S = 30.0


class Stopped(Exception):
    """Another file could not be fetched, or we were told to stop."""


class Tally:
    """Bytes as they come, of all files together: a bar on a terminal, elsewhere a line now and then."""

    def __init__(self, total: int, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.done, self.found = total, 0, 0
        self.stop = threading.Event()
        self._say, self._clock = say, clock
        self._lock = threading.Lock()
        self._bar: Any = None
        if sys.stderr.isatty():
            self._bar = tqdm(total=total, unit="B", unit_scale=True, mininterval=0.5)
        self._began = self._said = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def add(self, count: int, found: bool = False) -> None:
        """`found`: they were here already."""
        with self._lock:
            self.done += count
            self.found += count if found else 0
            if self._bar is not None:
                self._bar.update(count)
            elif self._clock() - self._said >= SAID_EVERY_S:
                self._said = self._clock()
                rate = (self.done - self.found) / max(self._said - self._began, 1e-9)
                share = self.done / max(self.total, 1)
                self._say(
                    f"{self.done / 1e9:.2f} of {self.total / 1e9:.2f} GB ({share:.0%}), {rate / 1e6:.0f} MB/s"
                )


def fetch(origin: Origin, file: SourceFile, part: Path, tally: Tally) -> str:
    """All of it into `part`, durable; its SHA-256. Raises PullFailed, Stopped, OSError."""
    digest, have = found_before(part, file, tally)
    failures = 0
    with part.open("ab") as stream:
        while have < file.size:
            try:
                for chunk in origin.read(file, have):
                    if tally.stop.is_set():
                        raise Stopped
                    have += len(chunk)
                    if have > file.size:
                        raise PullFailed(f"{file.name} of {origin.where} is longer than was said: it was replaced")
                    stream.write(chunk)
                    stream.flush()  # so that it is there, however this ends
                    digest.update(chunk)
                    tally.add(len(chunk))
                    failures = 0
                reason = "it broke off" if have < file.size else ""
            except SourceLost as problem:
                reason = str(problem)
            if have < file.size:
                failures += 1
                if failures == TRIES:
                    raise PullFailed(f"{origin.where} cannot be read ({reason}): the same command goes on here")
                if tally.stop.wait(FIRST_WAIT_S * 2 ** (failures - 1)):
                    raise Stopped
        os.fsync(stream.fileno())
    return str(digest.hexdigest())


def found_before(part: Path, file: SourceFile, tally: Tally) -> tuple[Any, int]:
    """The hash and the length of what an earlier try has left; what cannot be its beginning is removed."""
    digest, have = hashlib.sha256(), 0
    with contextlib.suppress(FileNotFoundError):
        if part.stat().st_size > file.size:
            part.unlink()
        with part.open("rb") as stream:
            while chunk := stream.read(READ_BYTES):
                if tally.stop.is_set():
                    raise Stopped
                digest.update(chunk)
                have += len(chunk)
                tally.add(len(chunk), found=True)
    return digest, have
