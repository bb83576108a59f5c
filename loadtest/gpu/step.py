"""One step in a process of its own, so that what it leaves on the GPU, and what it breaks, stays with it.

`python -m loadtest.gpu.step NAME --out DIR --build DIR [--dry-run]`; NAME `machine` prints what it runs on.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from loadtest.gpu import by_shape, ceilings, checkpoint, forward, served, vision, weights
from loadtest.gpu.amounts import DRY, FULL
from loadtest.gpu.bench import Bench, Failures, StepFailed, describe_machine
from loadtest.gpu.clock import Clock
from loadtest.gpu.notes import Notes
from loadtest.gpu.steps import MACHINE

MEASURES: dict[str, Callable[[Bench], None]] = {
    "ceilings": ceilings.measure,
    "by_shape": by_shape.measure,
    "vision": vision.measure,
    "checkpoint": checkpoint.measure,
    "weights": weights.measure,
    "forward": forward.measure,
    "served": served.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.gpu.step", description=__doc__)
    parser.add_argument("name", choices=[MACHINE, *MEASURES])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--build", type=Path)
    parser.add_argument("--dry-run", action="store_true")
    args = parser.parse_args()
    cuda = not args.dry_run and torch.cuda.is_available()
    machine = describe_machine(cuda)
    if args.name == MACHINE:
        print(json.dumps(machine))
        return
    amounts = DRY if args.dry_run else FULL
    clock = Clock(cuda, amounts.rounds, amounts.round_ms)
    notes = Notes(args.out / f"{args.name}.json", machine)
    try:
        run_step(args.name, Bench(amounts, clock, notes, args.build, say, Failures()))
    except StepFailed as failure:
        notes.fail(str(failure))
        sys.exit(f"{args.name}: {failure}")


def run_step(name: str, bench: Bench) -> None:
    began = time.monotonic()
    MEASURES[name](bench)
    bench.failures.end()
    bench.notes.end(time.monotonic() - began)


def say(line: str) -> None:
    print(f"         {line}", flush=True)


if __name__ == "__main__":
    main()
