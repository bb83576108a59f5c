"""`python -m loadtest.gpu` (`make bench-gpu`): what FP8 and kept embeddings are worth on one GPU.

Each step writes figures to OUT as it goes: the same command again goes on where it was. docs/benchmarks/gpu.md
is made of them. Without a GPU it says SKIPPED and changes nothing; --dry-run does all of it with a toy on the
CPU.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from loadtest.gpu.page import make_page, read_results
from loadtest.gpu.steps import MACHINE, STEPS, Runner

DOCS, OUT, BUILD = Path("docs/benchmarks"), Path("build/gpu/figures"), Path("build/gpu")
WITHIN_S = 480.0
IN_DRY_RUNS = tuple(name for name in STEPS if name != "served")  # vLLM takes minutes to start on a CPU


def main() -> int:
    args = parse_arguments()
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no step outlives us
    if args.page:
        return write_page(args.out, args.docs)
    machine = find_machine(args.dry_run)
    if not args.dry_run and "gpu" not in machine:
        why = machine.get("why", "its torch finds none")
        print(f"SKIPPED: no GPU ({sys.executable}: {why}). docs/benchmarks/gpu.md stays as it is.")
        return 0
    out = args.out if not args.dry_run or args.out != OUT else BUILD / "dry-run" / "figures"
    build = args.build if not args.dry_run or args.build != BUILD else BUILD / "dry-run"
    if args.again:
        shutil.rmtree(out, ignore_errors=True)

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {line}", flush=True)

    say(machine.get("gpu", "a dry run: a toy on the CPU, its figures mean nothing"))
    arguments = ("--dry-run",) if args.dry_run else ()
    runner = Runner(out, build, arguments, machine, began + args.within, say)
    missing = runner.run(args.steps)
    (out / "page.md").write_text(make_page(read_results(out)))
    say(f"{out}: " + (f"not done: {', '.join(missing)}. The same command goes on" if missing else "all done"))
    return 1 if missing else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dry-run", action="store_true", help="a toy on the CPU, in under a minute")
    parser.add_argument("--out", type=Path, default=OUT, help=f"folder for figures ({OUT})")
    parser.add_argument("--build", type=Path, default=BUILD, help=f"folder for checkpoints, 56 GB ({BUILD})")
    parser.add_argument("--within", type=float, default=WITHIN_S, help=f"seconds for this call ({WITHIN_S:.0f})")
    parser.add_argument("--steps", nargs="+", choices=STEPS, metavar="STEP", help=f"of {', '.join(STEPS)} (all)")
    parser.add_argument("--again", action="store_true", help="forget the figures in OUT first")
    parser.add_argument("--page", action="store_true", help="only write the page in DOCS, of the figures in OUT")
    parser.add_argument("--docs", type=Path, default=DOCS, help=f"({DOCS})")
    args = parser.parse_args()
    args.steps = [name for name in STEPS if name in (args.steps or (IN_DRY_RUNS if args.dry_run else STEPS))]
    return args


def find_machine(dry_run: bool) -> dict[str, Any]:
    """What the steps will run on, by one of their processes: a process that uses a GPU keeps some of its memory."""
    command = [sys.executable, "-m", "loadtest.gpu.step", MACHINE, *(["--dry-run"] if dry_run else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        if dry_run:
            sys.exit(f"a dry run needs torch, transformers and safetensors: {lines[-1]}")
        return {"why": lines[-1]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def write_page(out: Path, docs: Path) -> int:
    """The page and its raw data. A dry run's figures stay out of the documentation."""
    results = read_results(out)
    if not results or any("gpu" not in each["machine"] for each in results.values()):
        print(f"{out} holds no figures of a GPU")
        return 1
    (docs / "gpu").mkdir(parents=True, exist_ok=True)
    for name in results:
        shutil.copy(out / f"{name}.json", docs / "gpu")
    (docs / "gpu.md").write_text(make_page(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
