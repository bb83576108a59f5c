"""What each step is handed, and what machine it runs on."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from loadtest.gpu.amounts import Amounts
from loadtest.gpu.clock import Clock
from loadtest.gpu.notes import Notes

PACKAGES = ("torch", "triton", "transformers", "safetensors", "numpy", "vllm", "fovea")
BF16 = "bf16"
SHOWN = 3


class StepFailed(Exception):
    """What it found is noted; one sentence says what it could not do."""


class Failures:
    """What of a step failed, each thing by itself: what comes after it is measured all the same."""

    def __init__(self) -> None:
        self._found: list[str] = []

    @contextmanager
    def note(self, what: str) -> Iterator[None]:
        """torch's errors are RuntimeErrors (memory, a kernel that there is not); some checks of shapes and scales
        (TORCH_CHECK_VALUE, also in `_scaled_mm`) are ValueErrors."""
        try:
            yield
        except (RuntimeError, ValueError, StepFailed) as problem:
            said = str(problem).strip().splitlines() or [type(problem).__name__]
            self._found.append(f"{what}: {said[0]}")

    def end(self) -> None:
        """Raises StepFailed if there were any."""
        if self._found:
            more = len(self._found) - SHOWN
            raise StepFailed("; ".join(self._found[:SHOWN]) + (f"; and {more} more" if more > 0 else ""))


@dataclass(frozen=True, slots=True)
class Bench:
    """`build`: where checkpoints lie, each in a folder by its recipe's name; the source is `bf16`."""

    amounts: Amounts
    clock: Clock
    notes: Notes
    build: Path
    say: Callable[[str], None]
    failures: Failures

    def checkpoints(self) -> dict[str, Path]:
        """Those that are there, the source first."""
        folders = {name: self.build / name for name in (BF16, *self.amounts.recipes)}
        return {name: folder for name, folder in folders.items() if folder.exists()}


def describe_machine(cuda: bool) -> dict[str, Any]:
    """What must be the same for figures to belong together. No `gpu`: the CPU ran a dry run."""
    found = {each: version for each in PACKAGES if (version := find_version(each))}
    machine: dict[str, Any] = {
        "cpus": len(os.sched_getaffinity(0)),
        "processor": platform.machine(),
        "python": platform.python_version(),
        "versions": found,
    }
    if cuda:
        gpu = torch.cuda.get_device_properties(0)
        machine |= {
            "gpu": gpu.name,
            "gpu_bytes": gpu.total_memory,
            "capability": f"{gpu.major}.{gpu.minor}",
            "driver": find_driver(),
            "cuda": torch.version.cuda,
        }
    return machine


def find_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def find_driver() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return "unknown"
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    said = subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()
    return said[0].strip() if said else "unknown"
