"""What the benchmark of growth notes; scaling.json holds exactly this."""

from dataclasses import dataclass, field
from statistics import median

# A cost that is at most this many times as large at the largest size is flat.
BOUND = 1.25


@dataclass(frozen=True, slots=True)
class Growth:
    """`us`: by round, microseconds of CPU of one unit of the work at each of the sizes, which took turns within the
    round. `resident_mb`: of each size's gateway, at the end; empty where nothing was measured."""

    name: str
    sizes: list[int]
    us: list[list[float]]
    resident_mb: list[float]

    def ratios(self, index: int) -> list[float]:
        """Of each round, sorted: the size at `index` beside the smallest."""
        return sorted(costs[index] / costs[0] for costs in self.us)

    def ratio(self, index: int = -1) -> float:
        return median(self.ratios(index))

    def cost_us(self, index: int) -> float:
        return median(costs[index] for costs in self.us)

    @property
    def kb_each(self) -> float | None:
        """Resident memory that one more of the things takes, from the smallest size to the largest."""
        if not self.resident_mb or len(self.sizes) < 2:
            return None
        return (self.resident_mb[-1] - self.resident_mb[0]) * 1024 / (self.sizes[-1] - self.sizes[0])

    @property
    def is_flat(self) -> bool:
        return self.ratio() <= BOUND


@dataclass(slots=True)
class Result:
    """`others`: of one CPU, what processes not of this benchmark had of the machine meanwhile."""

    date: str
    machine: str
    versions: dict[str, str]
    command: str
    rounds: int
    growths: list[Growth] = field(default_factory=list)
    others: float = 0.0
    took_s: float = 0.0
