"""Memory of the machine as a container sees it: the least of what the machine and its control groups give.

Control groups are nested and each may have a limit: version 2 (memory.max) and 1 (memory.limit_in_bytes).
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from server.engine.metrics.declared import Readings

# Version 1 says "no limit" as the largest multiple of a page in 63 bits.
NO_LIMIT = 1 << 60


@dataclass(frozen=True, slots=True)
class Memory:
    """In bytes."""

    total: int
    available: int


class HostMemory:
    """`root` stands for /: tests have folders of their own."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._proc = root / "proc"
        self._groups = root / "sys/fs/cgroup"

    def __call__(self) -> Readings:
        memory = self.read()
        return {
            "fovea_host_memory_total_bytes": {(): memory.total},
            "fovea_host_memory_available_bytes": {(): memory.available},
        }

    def read(self) -> Memory:
        """Raises OSError, KeyError where there is no /proc."""
        machine = fields_of((self._proc / "meminfo").read_text(), ":")
        total, available = machine["MemTotal"] * 1024, machine["MemAvailable"] * 1024
        for limit, used in self._limits():
            total, available = min(total, limit), min(available, max(0, limit - used))
        return Memory(total, available)

    def _limits(self) -> Iterator[tuple[int, int]]:
        """Of each group that we are in: its limit, and what it uses and could not give back at once."""
        for line in (self._proc / "self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                yield from climb(self._groups, path, ("memory.max", "memory.current", "inactive_file"))
            elif "memory" in controllers.split(","):
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
                yield from climb(self._groups / "memory", path, names)


def climb(top: Path, path: str, names: tuple[str, str, str]) -> Iterator[tuple[int, int]]:
    """From the group up to the top one. Where a container has its own group mounted as the top, `path` may be the
    machine's name for it, which is not there."""
    limit_name, used_name, inactive_name = names
    group = top / path.lstrip("/")
    for folder in [each for each in (group, *group.parents) if each.is_relative_to(top)]:
        with contextlib.suppress(OSError, ValueError, KeyError):  # no limit here ("max"), or no such group
            limit = int((folder / limit_name).read_text())
            if limit < NO_LIMIT:
                inactive = fields_of((folder / "memory.stat").read_text())[inactive_name]
                yield limit, int((folder / used_name).read_text()) - inactive


def fields_of(text: str, mark: str = "") -> dict[str, int]:
    """Of "name number" lines, with `mark` behind the name."""
    lines = (line.split() for line in text.splitlines())
    return {line[0].removesuffix(mark): int(line[1]) for line in lines if len(line) > 1}
