"""What the benchmark notes; end-to-end.json holds exactly this."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from loadtest.reporting.intervals import percentile

DIRECT, IN_FRONT, NGINX, NO_AFFINITY, TWO = (
    "vLLM, direct",
    "Fovea before it",
    "nginx before two",
    "Fovea before two, affinity off",
    "Fovea before two",
)
SUBJECTS = (DIRECT, IN_FRONT, NGINX, NO_AFFINITY, TWO)
COLD, REPEATED = "cold", "repeated"


@dataclass(frozen=True, slots=True)
class Block:
    """One subject's requests of one kind in one round, from the first sent to the last answered. `encodes`: how
    often the engines' encoders ran for a picture; `pictures`: how many different ones there were."""

    subject: str
    round: int
    kind: str
    pictures: int
    encodes: int
    took_s: float
    ttft_s: list[float]
    e2e_s: list[float]


@dataclass(frozen=True, slots=True)
class Pair:
    """Times to first token of one picture that the engine holds, asked for directly and through the gateway."""

    direct_s: float
    fovea_s: float


@dataclass(slots=True)
class Result:
    """Of one run. `others`: the part of the machine's CPUs that other programs had before or after it, whichever
    was more; `affinity`: of the gateway before two engines, where its requests went."""

    date: str
    machine: str
    versions: dict[str, str]
    command: str
    engine_command: str
    rounds: int
    callers: int
    times: int
    side: int
    held: int
    blocks: list[Block] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    affinity: dict[str, int] = field(default_factory=dict)
    start_s: float = 0.0
    others: float = 0.0
    took_s: float = 0.0

    def of(self, subject: str, kind: str) -> list[Block]:
        """In the order of rounds."""
        found = [each for each in self.blocks if (each.subject, each.kind) == (subject, kind)]
        return sorted(found, key=lambda each: each.round)


Figure = Callable[[Block], float]


def per_s(block: Block) -> float:
    return len(block.e2e_s) / block.took_s


def ttft_p50(block: Block) -> float:
    return percentile(block.ttft_s, 0.5)


def e2e_p50(block: Block) -> float:
    return percentile(block.e2e_s, 0.5)


def encodes_each(block: Block) -> float:
    return block.encodes / block.pictures


def ratios(result: Result, subject: str, against: str, kind: str, figure: Figure) -> list[float]:
    """Within each round."""
    theirs = {each.round: figure(each) for each in result.of(against, kind)}
    ours = ((figure(each), theirs.get(each.round)) for each in result.of(subject, kind))
    return [one / other for one, other in ours if other]


def read_result(text: str) -> Result:
    raw = json.loads(text)
    raw["blocks"] = [Block(**each) for each in raw["blocks"]]
    raw["pairs"] = [Pair(**each) for each in raw["pairs"]]
    return Result(**raw)
