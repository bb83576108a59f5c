"""Step `served`: the same checkpoints on vLLM, end to end, where there is a vLLM; each in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loadtest.gpu.bench import Bench, StepFailed

BESIDE = Path(".venv/engine/bin/python")
HAS_VLLM = "import importlib.util as u, sys; sys.exit(u.find_spec('vllm') is None)"
# A sitecustomize, which on CPUs lets torchvision's CUDA build import beside vLLM in each of its processes.
STARTUP = Path("server/engine/startup")


def measure(bench: Bench) -> None:
    python = find_vllm(bench.clock.cuda)
    if python is None:
        bench.say("SKIPPED: no vLLM for this device: by_shape and forward say what its products take")
        return
    checkpoints = bench.checkpoints()
    if not checkpoints:
        raise StepFailed("there is no checkpoint: the step `checkpoint` makes them")
    for name, folder in checkpoints.items():
        if not bench.notes.has(name):
            bench.say(f"vLLM with {name}")
            with bench.failures.note(name):
                bench.notes.add(name, serve(bench, python, name, folder))


def find_vllm(cuda: bool) -> str | None:
    for candidate in candidates():
        try:
            has_it = subprocess.run([candidate, "-c", HAS_VLLM], check=False).returncode == 0
        except FileNotFoundError:
            continue
        if has_it and (not cuda or _says(candidate, "import torch; print(torch.cuda.is_available())") == "True"):
            return candidate
    return None


def candidates() -> Iterator[str]:
    if named := os.environ.get("FOVEA_ENGINE_PYTHON"):
        yield named
    yield sys.executable
    yield str(BESIDE)


def _says(python: str, script: str) -> str:
    return subprocess.run([python, "-c", script], check=False, capture_output=True, text=True).stdout.strip()


def serve(bench: Bench, python: str, name: str, folder: Path) -> dict[str, Any]:
    """Raises StepFailed."""
    amounts = bench.amounts
    job = {"served": amounts.served, "rounds": amounts.rounds, "context": amounts.context}
    job |= {"vocabulary": amounts.sizes.vocabulary}
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), os.getcwd(), str(STARTUP)]))
    log = bench.build / f"vllm-{name}.log"
    environ = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    with log.open("w") as errors:
        done = subprocess.run(
            [python, "-m", "loadtest.gpu.inside_vllm", folder, json.dumps(job)],
            check=False, stdout=subprocess.PIPE, stderr=errors, text=True, env=environ,
        )  # fmt: skip
    if done.returncode:
        lines = log.read_text().strip().splitlines() or [f"exit {done.returncode}"]
        raise StepFailed(lines[-1])
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
