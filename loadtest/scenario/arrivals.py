"""When conversations begin: seconds since the start of the run, in order, for the plan to fill."""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, TypeAdapter, ValidationError

from loadtest.scenario.document import Bursts, Part, Poisson, ScenarioError


class TraceLine(Part):
    at_s: float = Field(ge=0)
    tenant: str | None = None
    pictures: tuple[int, ...] | None = None
    prompt_tokens: int | None = Field(None, ge=1)
    answer_tokens: int | None = Field(None, ge=1)


_LINE = TypeAdapter(TraceLine)


def arrival_times(arrival: Poisson | Bursts, rng: random.Random) -> Iterator[float]:
    """Without end."""
    if isinstance(arrival, Poisson):
        return itertools.accumulate(rng.expovariate(arrival.rate) for _ in itertools.count())
    return burst_times(arrival, rng)


def burst_times(arrival: Bursts, rng: random.Random) -> Iterator[float]:
    """Poisson of a rate that changes, by thinning (Lewis and Shedler 1979): draw at the highest, keep in
    proportion."""
    highest, at_s = max(arrival.rate, arrival.burst_rate), 0.0
    while True:
        at_s += rng.expovariate(highest)
        bursting = at_s % arrival.every_s >= arrival.every_s - arrival.for_s
        if rng.random() * highest < (arrival.burst_rate if bursting else arrival.rate):
            yield at_s


def read_trace(path: Path, speed: float) -> Iterator[TraceLine]:
    """In the file's order, which must be that of time. Raises ScenarioError, naming the line."""
    last_s = 0.0
    try:
        with path.open("rb") as file:
            for number, text in enumerate(file, 1):
                line = _LINE.validate_json(text)
                if line.at_s < last_s:
                    raise ScenarioError(f"{path}, line {number}: at_s is earlier than the line before")
                last_s = line.at_s
                yield line.model_copy(update={"at_s": line.at_s / speed})
    except OSError as problem:
        raise ScenarioError(f"{path} cannot be read: {problem.strerror}") from problem
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the text"
        raise ScenarioError(f"{path}, line {number}: {where}: {first['msg']}") from problem
