"""What `make bench` runs, when, and on which cores: pure, from the table of benchmarks and the cores there are."""

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.suite.benchmarks import Benchmark, Phase

SET_UP = Path("deploy/environments/set_up.py")
SET_UP_MINUTES = 4.0


@dataclass(frozen=True, slots=True)
class Job:
    """One process, on `cores`; its name is that of its log."""

    name: str
    command: tuple[str, ...]
    cores: tuple[int, ...]
    minutes: float


# Jobs of a lane run one after another; lanes of a stage side by side; stages one after another.
Lane = tuple[Job, ...]
Stage = tuple[Lane, ...]


def make_plan(chosen: Sequence[Benchmark], cores: Sequence[int], docs: Path) -> list[Stage]:
    of = {phase: [each for each in chosen if each.phase == phase] for phase in Phase}

    def jobs(phase: Phase, on: Sequence[int]) -> Lane:
        return tuple(
            Job(each.name, command_of(each, docs), tuple(on), each.minutes)
            for each in sorted(of[phase], key=lambda each: each.name == "quantize")  # its environment comes last
        )

    if len(cores) < 2:
        everything = tuple(job for phase in Phase for job in jobs(phase, cores))
        return [((*set_up("set-up", environments(chosen), cores), *everything),)] if chosen else []
    half = len(cores) // 2
    first = environments(of[Phase.LONG] or chosen)
    rest = [name for name in environments(chosen) if name not in first]
    beside = (*set_up("set-up-rest", rest, cores[half:]), *jobs(Phase.BESIDE, cores[half:]))
    stages = [
        (set_up("set-up", first, cores),),
        (jobs(Phase.LONG, cores[:half]), beside),
        (jobs(Phase.ALONE, cores),),
    ]
    return [lanes for stage in stages if (lanes := tuple(lane for lane in stage if lane))]


def environments(chosen: Collection[Benchmark]) -> list[str]:
    """Each once, in the order of the table."""
    return list(dict.fromkeys(name for each in chosen for name in each.environments))


def set_up(name: str, wanted: Sequence[str], cores: Sequence[int]) -> Lane:
    if not wanted:
        return ()
    # Not by the environment's Python: what is set up is stamped with that which `make` calls.
    return (
        Job(
            name,
            (getattr(sys, "_base_executable", sys.executable), str(SET_UP), *wanted),
            tuple(cores),
            SET_UP_MINUTES,
        ),
    )


def command_of(each: Benchmark, docs: Path) -> tuple[str, ...]:
    return (sys.executable, "-m", f"loadtest.{each.module}", "--docs", str(docs))


def expected_minutes(stages: Sequence[Stage]) -> float:
    return sum(max(sum(job.minutes for job in lane) for lane in stage) for stage in stages)
