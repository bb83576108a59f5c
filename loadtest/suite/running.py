"""Jobs as processes of their own sessions, each with its log; none of what they started outlives them."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from loadtest.suite.plan import Job, Lane, Stage

# In the environment of all that a run starts, so that the run can end it, whatever session it is in.
MARK = "BENCH_ALL_RUN"
END_S = 20.0
# A gateway's settings that happen to be in the caller's shell are not those that are to be measured.
SETTINGS, KEPT = "FOVEA_", ("FOVEA_ENGINE_PYTHON", "FOVEA_QUANTIZE_PYTHON")
# A benchmark that hangs is ended, so that the others come.
LIMIT_FACTOR, LIMIT_MORE_S = 3.0, 300.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """`problem` is empty where all went well."""

    job: Job
    seconds: float
    problem: str
    log: Path


@dataclass(slots=True)
class Board:
    """What runs now and what has ended."""

    logs: Path
    ended: Callable[[Outcome], None]
    running: dict[str, tuple[Job, float]]
    outcomes: list[Outcome]


async def run_stages(stages: Sequence[Stage], board: Board) -> None:
    for stage in stages:
        async with asyncio.TaskGroup() as lanes:
            for lane in stage:
                lanes.create_task(run_lane(lane, board))


async def run_lane(lane: Lane, board: Board) -> None:
    for job in lane:
        began = time.monotonic()
        board.running[job.name] = job, began
        log = board.logs / f"{job.name}.log"
        try:
            problem = await run_job(job, log)
        finally:
            del board.running[job.name]
        outcome = Outcome(job, time.monotonic() - began, problem, log)
        board.outcomes.append(outcome)
        board.ended(outcome)


async def run_job(job: Job, log: Path, limit_s: float = 0) -> str:
    """What went wrong, in a few words. Cancelled, it leaves nothing running."""
    mark = f"{os.getpid()}-{job.name}"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *job.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            env={**without_settings(os.environ), MARK: mark, "PYTHONUNBUFFERED": "1"},
        )
        try:
            os.sched_setaffinity(process.pid, job.cores)
            async with asyncio.timeout(limit_s or LIMIT_FACTOR * 60 * job.minutes + LIMIT_MORE_S):
                status = await process.wait()
        except TimeoutError:
            return "took too long and was ended"
        except ProcessLookupError:
            status = await process.wait()
        finally:
            await end(process, mark)
    return f"exit status {status}" if status else ""


def without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name in KEPT or not name.startswith(SETTINGS)}


async def end(process: asyncio.subprocess.Process, mark: str) -> None:
    """Asked as by Ctrl-C first: its own clean-up ends its children best. Then whatever is left, the hard way."""
    if process.returncode is None:
        send(process.pid, signal.SIGINT)
        try:
            async with asyncio.timeout(END_S):
                await process.wait()
        except TimeoutError:
            send(process.pid, signal.SIGKILL)
            await process.wait()
    while left := marked(mark):
        for pid in left:
            send(pid, signal.SIGKILL)
        await asyncio.sleep(0.05)


def send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def marked(mark: str) -> list[int]:
    """Processes that were started with this mark and are not dead."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            is_ours = wanted in (folder / "environ").read_bytes().split(b"\0")
            is_dead = (folder / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
        except OSError:  # gone meanwhile, or somebody else's
            continue
        if is_ours and not is_dead:
            found.append(int(folder.name))
    return found
