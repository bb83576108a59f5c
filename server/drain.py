"""Whether this process is stopping: asked by its readiness, and by requests that are cut off at the end of it."""

import asyncio
from types import TracebackType

from server.errors import Draining


class Drain:
    """Goes one way: serving; `draining` (not ready, but still serving); `over` (what still runs is cut off).

    As a context manager it turns the cancellation of a request that is cut off into the error that says so.
    """

    def __init__(self) -> None:
        self.draining = False
        self.over = False

    def begin(self) -> None:
        self.draining = True

    def end(self) -> None:
        self.draining = self.over = True

    def cut_off(self) -> Draining:
        return Draining("The gateway stopped before this request was done: send it again.")

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.over and isinstance(problem, asyncio.CancelledError):
            raise self.cut_off() from None
