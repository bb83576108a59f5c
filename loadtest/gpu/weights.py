"""Step `weights`: what memory of the GPU each checkpoint takes, loaded as it is stored."""

import time
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from loadtest.gpu.bench import Bench, StepFailed


def measure(bench: Bench) -> None:
    checkpoints = bench.checkpoints()
    if not checkpoints:
        raise StepFailed("there is no checkpoint: the step `checkpoint` makes them")
    for name, folder in checkpoints.items():
        if not bench.notes.has(name):
            bench.say(f"loading {name}")
            with bench.failures.note(name):
                bench.notes.add(name, measure_load(folder, bench.clock.cuda))


def measure_load(folder: Path, cuda: bool) -> dict[str, Any]:
    """`allocated` and `peak` are torch's, `device` is what the driver says of the whole GPU; in bytes."""
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        free = torch.cuda.mem_get_info()[0]
    began = time.monotonic()
    tensors = load(folder, "cuda:0" if cuda else "cpu")
    if cuda:
        torch.cuda.synchronize()
    stored = sum(tensor.nbytes for tensor in tensors)
    found: dict[str, Any] = {"stored": stored, "load_s": time.monotonic() - began}
    if cuda:
        found |= {
            "allocated": torch.cuda.memory_allocated(),
            "peak": torch.cuda.max_memory_allocated(),
            "device": free - torch.cuda.mem_get_info()[0],
        }
    return found


def load(folder: Path, device: str) -> list[Any]:
    found = []
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt", device=device) as file:
            found += [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118 - it is no dict
    return found
