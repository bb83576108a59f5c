"""An event loop whose time passes only where everybody waits for it: hours of waiting take no time at all."""

import asyncio
import selectors
from typing import Any


class _Selector(selectors.DefaultSelector):
    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout:
            self.loop.now += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def turn(self, times: int = 1) -> None:
        """Run what is ready, and let no time pass."""
        for _ in range(times):
            self.call_soon(self.stop)
            self.run_forever()

    def run(self, work: Any) -> Any:
        return self.run_until_complete(work)
