"""`make bench`: every benchmark of docs/benchmarks, set-up included, in under an hour on two cores.

The table is loadtest/suite/benchmarks.py; which runs when and on which cores, suite/plan.py. A benchmark that fails
stops no other. At the end docs/benchmarks/README.md and the README's performance section are made of the figures.
"""

import argparse
import asyncio
import os
import platform
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from loadtest import claims
from loadtest.suite.benchmarks import BENCHMARKS, Benchmark
from loadtest.suite.noted import Runs, Took, commit_here, digest_of, read_runs, still_to_run, write_runs
from loadtest.suite.plan import Stage, expected_minutes, make_plan
from loadtest.suite.running import Board, Outcome, run_stages
from loadtest.suite.shown import show, summary, told, told_of

DOCS, BUILD = Path("docs/benchmarks"), Path("build/bench")
ENDED_BY_SIGNAL = 130


async def run(stages: Sequence[Stage], board: Board) -> bool:
    """Whether it came to its end, however its benchmarks did."""
    work = asyncio.create_task(run_stages(stages, board))
    watch = asyncio.create_task(show(board, expected_minutes(stages)))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        return False
    finally:
        watch.cancel()
    return True


def bench(chosen: Sequence[Benchmark], docs: Path, build: Path, resumes: bool) -> int:
    began, commit, state = time.monotonic(), commit_here(), build / "run.json"
    runs = read_runs(docs / "run.json")
    done = read_runs(state) if resumes else Runs()
    left = still_to_run(chosen, done, commit, docs)
    for each in chosen:
        if each not in left:
            print(f"{each.name}: this commit has written its page already")
    cores = sorted(os.sched_getaffinity(0))
    stages = make_plan(left, cores, docs)
    print(told_of(stages, len(cores)), flush=True)

    def ended(outcome: Outcome) -> None:
        print(f"\n{told(outcome)}", flush=True)
        if outcome.job.name in BENCHMARKS and not outcome.problem:
            raw, _ = BENCHMARKS[outcome.job.name].outputs(docs)
            took = Took(round(outcome.seconds), commit, digest_of(raw))
            runs.took[outcome.job.name] = done.took[outcome.job.name] = took
            write_runs(state, done)

    board = Board(build / "logs", ended, {}, [])
    is_whole = asyncio.run(run(stages, board))
    seconds = time.monotonic() - began
    if is_whole and set(left) == set(BENCHMARKS.values()):
        runs.day, runs.machine = (
            datetime.now(UTC).date().isoformat(),
            f"{platform.machine()}, {os.cpu_count()} CPUs",
        )
        runs.whole = round(seconds)
    write_runs(docs / "run.json", runs)
    if docs == DOCS:
        claims.write(Path())
    print(gpu_line())
    print(summary(board.outcomes, seconds))
    if not is_whole:
        print("ended by a signal: `--resume` goes on")
        return ENDED_BY_SIGNAL
    return 1 if any(each.problem for each in board.outcomes) else 0


def gpu_line() -> str:
    if shutil.which("nvidia-smi"):
        return "gpu: there is one, and its benchmark is not part of this: make bench-gpu"
    return "SKIPPED: gpu: no GPU here (make bench-gpu where there is one)"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench_all", description=__doc__)
    parser.add_argument("--docs", type=Path, default=DOCS, help=f"folder for the results ({DOCS})")
    parser.add_argument("--build", type=Path, default=BUILD, help=f"folder for logs ({BUILD})")
    parser.add_argument("--only", help=f"these, with commas ({','.join(BENCHMARKS)})")
    parser.add_argument(
        "--resume", action="store_true", help="not what this commit has written the page of already"
    )
    parser.add_argument("--list", action="store_true", help="say what would run, and when")
    args = parser.parse_args()
    names = args.only.split(",") if args.only else list(BENCHMARKS)
    if unknown := set(names) - BENCHMARKS.keys():
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}: {', '.join(BENCHMARKS)}")
    chosen = [each for each in BENCHMARKS.values() if each.name in names]
    if args.list:
        for each in chosen:
            print(f"{each.name:<12} {each.minutes:>3g} min  {each.asks}")
        cores = sorted(os.sched_getaffinity(0))
        print(told_of(make_plan(chosen, cores, args.docs), len(cores)))
        return
    sys.exit(bench(chosen, args.docs, args.build, args.resume))


if __name__ == "__main__":
    main()
