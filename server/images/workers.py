"""Threads for work on image bytes: bounded in number, and answered for by a deadline."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from server.errors import BusyError, ImageError

T = TypeVar("T")


class ImageWorkers:
    """At most `threads` pieces of work run. A thread that overruns keeps its place until it ends: no pile grows."""

    def __init__(self, name: str, threads: int, deadline_s: float) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._places = asyncio.Semaphore(threads)
        self._deadline_s = deadline_s

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(self, work: Callable[[], T]) -> T:
        """Raises BusyError where no thread comes free in time, ImageError where the work takes too long."""
        until = asyncio.get_running_loop().time() + self._deadline_s
        queued = self._places.locked()
        try:
            if not queued:
                await self._places.acquire()
            else:
                async with asyncio.timeout_at(until):
                    await self._places.acquire()
        except TimeoutError as problem:
            raise BusyError("Too many images are being worked on: try again later.") from problem
        working = asyncio.get_running_loop().run_in_executor(self._threads, work)
        working.add_done_callback(self._leave)
        try:
            async with asyncio.timeout_at(until):
                return await asyncio.shield(working)
        except TimeoutError as problem:
            if queued:  # it may have needed no more than others do
                raise BusyError("Too many images are being worked on: try again later.") from problem
            raise ImageError("The image takes too long to decode.") from problem
        finally:
            del working  # it holds what was raised, which would hold this frame

    def _leave(self, working: "asyncio.Future[T]") -> None:
        self._places.release()
        if not working.cancelled():
            working.exception()  # whoever asked may have left: nobody else would look at it
