"""How far a run has come: a bar with the time that is left on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self, TextIO

from tqdm import tqdm

EVERY_S = 10.0


class Progress(Protocol):
    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def step(self) -> None:
        """One picture more has been looked at."""


class Bar:
    def __init__(self, total: int, out: TextIO) -> None:
        self._bar = tqdm(total=total, unit="picture", file=out, mininterval=0.5, dynamic_ncols=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def step(self) -> None:
        self._bar.update(1)


class Lines:
    """At most one in `EVERY_S`, and none where all is done before that."""

    def __init__(self, total: int, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._out = out
        self._clock = clock
        self._began = self._said = clock()
        self._done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def step(self) -> None:
        self._done += 1
        now = self._clock()
        if now - self._said >= EVERY_S:
            self._said = now
            left_s = (now - self._began) / self._done * (self._total - self._done)
            self._out.write(f"{self._done} of {self._total} pictures, about {left_s:.0f} s left\n")
            self._out.flush()


def progress_of(total: int, out: TextIO = sys.stderr) -> Progress:
    return Bar(total, out) if out.isatty() else Lines(total, out)
