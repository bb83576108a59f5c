"""`make bench-quantize`: our writer beside llm-compressor's two and `cp`, in turn, on real layer shapes.

Each is a process of its own; memory and CPU seconds are what the kernel counted for it and its children. Writes
docs/benchmarks/quantize.md and quantize.json.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

from loadtest.driving.this_machine import cpus_here

QUANTIZE_PYTHON = Path(".venv/quantize/bin/python")
IGNORE = ["re:.*lm_head", "re:.*visual.*", "re:.*linear_attn.*"]
# FP8-dynamic as `quantize.compress` takes it; what makes such jobs is not for loadtest to import.
E4M3 = {"num_bits": 8, "type": "float", "symmetric": True}
ONESHOT = {
    "method": "nearest",
    "smoothing": None,
    "targets": ["Linear"],
    "group": {
        "weights": {**E4M3, "strategy": "channel", "dynamic": False},
        "input_activations": {**E4M3, "strategy": "token", "dynamic": True},
    },
    "ignore": IGNORE,
    "rescaled": [],
    "samples": None,
}
# The published three and what else model_free_ptq needs on this family: without it, it quantizes the embeddings.
MODEL_FREE_IGNORE = [*IGNORE, "re:.*embed_tokens.*", "re:^mtp.*"]
MODEL_FREE = (
    "import sys; from quantize.torchvision_on_cpu import allow_torchvision; allow_torchvision(); "
    "from llmcompressor import model_free_ptq; "
    "model_free_ptq(sys.argv[1], sys.argv[2], 'FP8_DYNAMIC', ignore={})"
)
# On one core a round takes about three minutes.
ROUNDS = 2
OURS, PROVED = "run --no-verify", "run (with its proof)"


@dataclass(frozen=True, slots=True)
class Cost:
    """One run of one writer. `peak_mb`: resident, of its largest process."""

    writer: str
    wall_s: float
    cpu_s: float
    peak_mb: float


def commands(source: Path, out: Path) -> dict[str, list[str]]:
    job = json.dumps(ONESHOT)
    python, ours = str(QUANTIZE_PYTHON), [sys.executable, "-m", "quantize.cli", "run", str(source), str(out)]
    return {
        OURS: [*ours, "--no-verify"],
        PROVED: ours,
        "oneshot": [python, "-m", "quantize.compress", str(source), str(out), job],
        "model_free_ptq": [python, "-c", MODEL_FREE.format(MODEL_FREE_IGNORE), str(source), str(out)],
        "cp and sync": ["sh", "-c", 'cp -r --reflink=never "$0" "$1" && sync -f "$1"', str(source), str(out)],
    }


def measure(writer: str, command: list[str]) -> Cost:
    """Run it to its end. Raises CalledProcessError."""
    began = time.monotonic()
    environ = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.getcwd()}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ)
    _, status, usage = os.wait4(process.pid, 0)
    if code := os.waitstatus_to_exitcode(status):
        raise subprocess.CalledProcessError(code, command)
    return Cost(writer, time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def measure_resume(command: list[str], source: Path, out: Path) -> tuple[float, float]:
    """Wall seconds of a run that is killed when half of its files are done, and of the one that goes on."""
    journal = out.with_name(f".{out.name}.part") / "journal.jsonl"
    files = len(list(source.glob("*.safetensors")))
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not journal.exists() or len(journal.read_text().splitlines()) - 1 < files // 2:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return killed - began, time.monotonic() - killed


class Result(TypedDict):
    """What one benchmark found. `resume`: wall seconds until the kill, and of the run that went on."""

    date: str
    machine: str
    versions: dict[str, str]
    source_bytes: int
    rounds: int
    costs: list[Cost]
    resume: dict[str, float]


def bench(build: Path, rounds: int) -> Result:
    source, out = build / "source", build / "out"
    shutil.rmtree(build, ignore_errors=True)
    # In a process of its own: the peak of those measured begins at that of the one that they are forked from.
    size = int(
        subprocess.run(
            [sys.executable, "-m", "loadtest.qwen3_5_checkpoint", source], check=True, capture_output=True
        ).stdout
    )
    print(f"source: {size / 1e9:.2f} GB", flush=True)
    costs: list[Cost] = []
    for number in range(rounds):
        turn = list(commands(source, out).items())
        for writer, command in turn[number % len(turn) :] + turn[: number % len(turn)]:
            cost = measure(writer, command)
            costs.append(cost)
            print(
                f"{writer:<20} {cost.wall_s:7.1f} s wall {cost.cpu_s:7.1f} s CPU {cost.peak_mb:8.0f} MB", flush=True
            )
            shutil.rmtree(out)
    killed_s, rest_s = measure_resume(commands(source, out)[OURS], source, out)
    shutil.rmtree(build)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {cpus_here()}",
        "versions": versions(),
        "source_bytes": size,
        "rounds": rounds,
        "costs": costs,
        "resume": {"killed_after_s": killed_s, "rest_s": rest_s},
    }


def versions() -> dict[str, str]:
    script = "import importlib.metadata as m; print(*(m.version(n) for n in ('llmcompressor', 'torch')))"
    told = subprocess.run(
        [QUANTIZE_PYTHON, "-c", script], check=True, capture_output=True, text=True
    ).stdout.split()
    ours = subprocess.run(
        [sys.executable, "-c", "import importlib.metadata as m; print(m.version('fovea'), m.version('numpy'))"],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    return dict(zip(("llmcompressor", "torch", "fovea", "numpy"), (*told, *ours), strict=True))


def make_page(result: Result) -> str:
    """docs/benchmarks/quantize.md: medians, and ratios to ours within each round."""
    bytes_, resume = result["source_bytes"], result["resume"]
    unbroken = statistics.median(cost.wall_s for cost in result["costs"] if cost.writer == OURS)
    with_break = resume["killed_after_s"] + resume["rest_s"]
    return f"""# Quantizing: memory, CPU and time

*Written by `make bench-quantize`; every figure comes from that run. {result["date"]}, {result["machine"]}, {
        ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    }.*

A checkpoint of Qwen3.5-9B's real layer shapes (fewer layers, the whole vision tower, {
        bytes_ / 1e9:.2f} GB of random BF16
weights in files of a gigabyte) becomes FP8-dynamic. Each writer is a process of its own; they take turns,
{result["rounds"]} rounds of it. Figures are medians; ratios are within a round: the median (least-largest). Ours
makes every file durable and hashes it; with its proof, it also compares every kept tensor and recomputes every code
from the disk. The others do none of it. `cp` copies the source.

{make_table(result["costs"])}

Killed with SIGKILL when half of its files were done ({resume["killed_after_s"]:.1f} s), the same command took
{resume["rest_s"]:.1f} s to finish: {with_break:.1f} s with the break, {unbroken:.1f} s without.

Raw data: [quantize.json](quantize.json). To repeat: `make bench-quantize` (three times the source's size of free
disk, and memory for the whole model, which `oneshot` holds).
"""


def make_table(costs: list[Cost]) -> str:
    of = {cost.writer: [each for each in costs if each.writer == cost.writer] for cost in costs}
    lines = [
        "| writer | wall, s | CPU, s | peak memory, MB | wall : ours | CPU : ours |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for writer in sorted(of, key=list(commands(Path(), Path())).index):
        mine = of[writer]
        wall, cpu = (
            statistics.median(seconds) for seconds in zip(*((c.wall_s, c.cpu_s) for c in mine), strict=True)
        )
        peak = statistics.median(cost.peak_mb for cost in mine)
        pairs = list(zip(mine, of[OURS], strict=True))
        walls = spread([theirs.wall_s / ours.wall_s for theirs, ours in pairs])
        cpus = spread([theirs.cpu_s / ours.cpu_s for theirs, ours in pairs])
        lines.append(f"| `{writer}` | {wall:.1f} | {cpu:.1f} | {peak:,.0f} | {walls} | {cpus} |")
    return "\n".join(lines)


def spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench_quantize", description=__doc__)
    parser.add_argument("--build", type=Path, default=Path("build/bench-quantize"), help="folder for checkpoints")
    parser.add_argument("--docs", type=Path, default=Path("docs/benchmarks"), help="folder for the results")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"({ROUNDS})")
    args = parser.parse_args()
    result = bench(args.build, args.rounds)
    args.docs.mkdir(parents=True, exist_ok=True)
    raw = {**result, "costs": [asdict(cost) for cost in result["costs"]]}
    (args.docs / "quantize.json").write_text(json.dumps(raw, indent=2) + "\n")
    (args.docs / "quantize.md").write_text(make_page(result))
    print(make_table(result["costs"]))


if __name__ == "__main__":
    main()
