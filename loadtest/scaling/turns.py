"""The sizes of one thing take turns, block by block, so that all of them meet the same machine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loadtest.scaling.result import Growth


@dataclass(frozen=True, slots=True)
class Subject:
    """One size of the thing that grows: `measure` runs a block and says the microseconds of CPU of one unit."""

    size: int
    measure: Callable[[], float]
    resident_mb: Callable[[], float] | None = None


def take_turns(name: str, subjects: Sequence[Subject], rounds: int) -> Growth:
    """One round more at first, which is to warm up. Who begins changes from round to round."""
    found = []
    for number in range(rounds + 1):
        first = number % len(subjects)
        costs = dict.fromkeys((subject.size for subject in subjects), 0.0)
        for subject in (*subjects[first:], *subjects[:first]):
            costs[subject.size] = subject.measure()
        found.append([*costs.values()])
    resident = [subject.resident_mb() for subject in subjects if subject.resident_mb is not None]
    return Growth(name, [subject.size for subject in subjects], found[1:], resident)
