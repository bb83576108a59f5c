"""What vLLM's processes take of the host's memory: the API server that we are in, and those below it."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from server.engine.metrics.declared import Readings

# As vLLM names them; the kernel keeps 15 characters.
KINDS = {"VLLM::EngineCor": "core", "VLLM::Worker": "worker"}
FAMILY_S = 10.0
MOST = 512


class Processes:
    """`root` stands for /. Which processes there are is looked up anew every ten seconds."""

    def __init__(
        self, pid: int | None = None, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pid = pid or os.getpid()
        self._proc = root / "proc"
        self._clock = clock
        self._family: dict[int, str] = {}
        self._until_s = 0.0

    def __call__(self) -> Readings:
        resident: dict[tuple[str, ...], float] = {}
        for pid, kind in self.family().items():
            with contextlib.suppress(OSError):  # it ended
                pages = int((self._proc / str(pid) / "statm").read_text().split()[1])
                resident[kind,] = resident.get((kind,), 0) + pages * os.sysconf("SC_PAGE_SIZE")
        return {"fovea_engine_process_memory_bytes": resident}

    def family(self) -> dict[int, str]:
        """What each process of the engine is, by its id."""
        now = self._clock()
        if now >= self._until_s:
            found = {pid: kind for pid in self._below(self._pid) if (kind := self._kind(pid))}
            self._family, self._until_s = {self._pid: "api", **found}, now + FAMILY_S
        return self._family

    def _kind(self, pid: int) -> str | None:
        try:
            name = (self._proc / str(pid) / "comm").read_text().strip()
        except OSError:
            return None
        return next((kind for begins, kind in KINDS.items() if name.startswith(begins)), None)

    def _below(self, pid: int) -> Iterator[int]:
        """Children and theirs; a kernel that does not list them (CONFIG_PROC_CHILDREN) has none."""
        waiting, seen = [pid], 0
        while waiting and seen < MOST:
            parent = waiting.pop()
            for children in (self._proc / str(parent) / "task").glob("*/children"):
                with contextlib.suppress(OSError):
                    found = [int(each) for each in children.read_text().split()]
                    seen += len(found)
                    waiting += found
                    yield from found
