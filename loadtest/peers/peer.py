"""What the benchmark must know of a gateway; each module beside this one knows one."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

# The programs and environments of deploy/environments/environments.py.
VENVS = Path(".venv").absolute()


class Peer(Protocol):
    """One gateway as its own documentation has it started, for one upstream, with one process to serve."""

    name: str
    settings: str  # for the page: how it is set up, where that could matter
    get: str  # what to type where it is not there

    def is_there(self) -> bool: ...

    def version(self) -> str: ...

    def environ(self, folder: Path) -> Mapping[str, str]:
        """What is set for its process besides what is set already. `folder` is its own, and empty."""
        ...

    def command(self, port: int, upstream: int, folder: Path) -> list[str]:
        """Starts it on the loopback `port`, in front of that at `upstream`."""
        ...


def installed_version(environment: str, package: str) -> str:
    python = VENVS / environment / "bin" / "python"
    script = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def set_up(*names: str) -> str:
    return f"python3 deploy/environments/set_up.py {' '.join(names)}"


def with_path(**more: str) -> dict[str, str]:
    """The environment of this process, less what would lead a peer's Python to our modules."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | more
