"""What somebody who waits for `make bench` sees of it."""

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from loadtest.suite.plan import Stage, expected_minutes
from loadtest.suite.running import Board, Outcome

LINE_S = 30.0  # where nobody sits at a terminal
TAIL_BYTES = 2048


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def line_of(board: Board, began: float, expected: float, now: float) -> str:
    parts = [f"{clock(now - began)} of about {clock(60 * expected)}"]
    parts += [
        f"{name} {clock(now - since)}/{clock(60 * job.minutes)}" for name, (job, since) in board.running.items()
    ]
    return "  ".join(parts)


async def show(board: Board, expected: float, out: TextIO = sys.stderr) -> None:
    began, at_terminal = time.monotonic(), out.isatty()
    while True:
        line = line_of(board, began, expected, time.monotonic())
        print(f"\r\x1b[K{line}" if at_terminal else line, end="" if at_terminal else "\n", file=out, flush=True)
        await asyncio.sleep(1.0 if at_terminal else LINE_S)


def told(outcome: Outcome) -> str:
    how = f"FAILED: {outcome.problem}: {outcome.log}" if outcome.problem else "done"
    return (
        f"{outcome.job.name}: {how} ({clock(outcome.seconds)}){last_words(outcome.log) if outcome.problem else ''}"
    )


def last_words(log: Path) -> str:
    """Most programs say last why they ended."""
    with suppress(OSError), log.open("rb") as written:
        written.seek(max(0, log.stat().st_size - TAIL_BYTES))
        if lines := written.read().decode(errors="replace").strip().splitlines():
            return f"\n  {lines[-1]}"
    return ""


def told_of(stages: Sequence[Stage], cores: int) -> str:
    lines = [f"about {expected_minutes(stages):.0f} minutes:"]
    for number, stage in enumerate(stages, 1):
        for lane in stage:
            where = ",".join(map(str, lane[0].cores))
            names = ", ".join(f"{job.name} ({job.minutes:g} min)" for job in lane)
            lines.append(f"  {number}. on cores {where}: {names}")
    if cores == 1:
        lines.append("  one after another where there is one core: this takes longer")
    return "\n".join(lines)


def summary(outcomes: Sequence[Outcome], seconds: float) -> str:
    lines = [f"  {each.job.name:<12} {clock(each.seconds):>6}" for each in outcomes]
    lines.append(f"  {'in all':<12} {clock(seconds):>6}")
    failed = [each for each in outcomes if each.problem]
    lines += [f"FAILED: {each.job.name}: {each.problem}: {each.log}" for each in failed]
    return "\n".join(lines)
