"""Two stock vLLM servers, with nothing of Fovea in them, each on cores of its own: what every subject leads to."""

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest.embedding_cache.checkpoint import PREPROCESSORS, write_checkpoint
from loadtest.engine_environment import ENGINE_PYTHON, engine_versions
from loadtest.gateway.processes import free_port
from loadtest.soak.processes import Program, program

BASE = Path("demo/model")
MODEL = "model"
# A side of the pictures, and of what becomes one token of them: 64 patches. Larger ones take a CPU many seconds.
SIDE, PATCH = 128, 32
TOKENS = (SIDE // PATCH) ** 2
# What vLLM's own memory holds of them: an encoder cache is as large as a batch.
HELD = 6
# Lets vLLM run beside a torch without CUDA; imported by name, as it is no part of vLLM.
STARTUP = Path("server/engine/startup").absolute()
VLLM = (str(ENGINE_PYTHON), "-m", "vllm.entrypoints.openai.api_server")  # as `vllm serve` does
OPTIONS = (
    "--served-model-name", MODEL, "--host", "127.0.0.1", "--enforce-eager", "--max-num-seqs", "16",
    "--max-num-batched-tokens", str(HELD * TOKENS), "--no-enable-prefix-caching", "--skip-mm-profiling",
    "--limit-mm-per-prompt", json.dumps({"image": 1, "video": 0}), "--disable-uvicorn-access-log",
    "--enable-logging-iteration-details",
)  # fmt: skip
ENVIRON = {
    "PYTHONPATH": str(STARTUP),
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}
ENCODED = re.compile(r"encoder inputs: (\d+)")


@dataclass(frozen=True, slots=True)
class Engine:
    """`encodes`: how many pictures its encoder has been run for, since it started."""

    url: str
    encodes: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Engines:
    """`checkpoint` has the preprocessor that prices are made of; `command` is for the page."""

    engines: Sequence[Engine]
    checkpoint: Path
    versions: dict[str, str]
    command: str = ""


def write_model(folder: Path) -> None:
    """Every picture is taken in as it is: none is larger, or smaller."""
    write_checkpoint(BASE, folder)
    for name in PREPROCESSORS:
        content = json.loads((folder / name).read_text())
        content["size"] = {"shortest_edge": SIDE * SIDE, "longest_edge": SIDE * SIDE}
        (folder / name).write_text(json.dumps(content, indent=2))


@contextmanager
def stock_engines(folder: Path) -> Iterator[Engines]:
    """Two, started side by side; both are up."""
    model, cores = folder / "model", sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("this benchmark needs two cores: one for each engine")
    write_model(model)
    half = len(cores) // 2
    with ExitStack() as stack:
        started = [
            start(stack, f"engine-{number}", folder, model, its)
            for number, its in enumerate((cores[:half], cores[half : 2 * half]))
        ]
        for running, engine in started:
            running.wait_for(f"{engine.url}/health")
        command = " ".join(["vllm serve", *(f"'{each}'" if each[0] == "{" else each for each in OPTIONS)])
        yield Engines([engine for _, engine in started], model, engine_versions(), command)


def start(stack: ExitStack, name: str, folder: Path, model: Path, cores: Sequence[int]) -> tuple[Program, Engine]:
    port, log = free_port(), folder / f"{name}.log"
    # What computes is bound to its cores; what serves HTTP beside it goes where there is room.
    environ = {**ENVIRON, "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores))}
    options = ["--model", str(model), "--port", str(port), *OPTIONS]
    running = stack.enter_context(program(name, log, *options, command=VLLM, **environ))
    return running, Engine(f"http://127.0.0.1:{port}", lambda: count_encodes(log.read_text(errors="replace")))


def count_encodes(log: str) -> int:
    """vLLM writes of every step how many pictures it encoded, where it did (--enable-logging-iteration-details)."""
    return sum(map(int, ENCODED.findall(log)))
