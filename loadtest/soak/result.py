"""What the soak notes; soak.json holds exactly this."""

from dataclasses import dataclass, field

from loadtest.reporting.intervals import Estimate
from loadtest.soak.line import grown

# Of what follows the warm-up. Memory: allocators keep some of what is freed; a leak of a page every other request
# would be far more. Files: not one.
MOST_SHARE, MOST_MB, MOST_FILES = 0.02, 4.0, 0.5
WARM_UP = 1 / 3
DAY_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one time. `files` are its descriptors that are no sockets."""

    at_s: float
    rss_mb: float
    private_mb: float
    files: int
    sockets: int
    threads: int


@dataclass(slots=True)
class Watched:
    """A process over the soak. Empty `rest`: it had none. `judged`: it is what is served with, not what asks."""

    name: str
    judged: bool
    samples: list[Sample] = field(default_factory=list)
    rest_before: Sample | None = None
    rest_after: Sample | None = None

    def after_warm_up(self, lasted_s: float) -> list[Sample]:
        return [sample for sample in self.samples if sample.at_s >= lasted_s * WARM_UP]


@dataclass(frozen=True, slots=True)
class Growth:
    """Of one process in the time after the warm-up, by the line through its samples. `over_s`: that time."""

    over_s: float
    rss_mb: Estimate
    files: Estimate
    at_mb: float

    @property
    def most_mb(self) -> float:
        return max(MOST_MB, MOST_SHARE * self.at_mb)

    @property
    def memory_is_flat(self) -> bool:
        return self.rss_mb.high <= self.most_mb

    @property
    def files_are_flat(self) -> bool:
        return self.files.high <= MOST_FILES


def growth_of(watched: Watched, lasted_s: float) -> Growth:
    """Raises ValueError without samples after the warm-up."""
    kept = watched.after_warm_up(lasted_s)
    if not kept:
        raise ValueError(f"nothing was seen of {watched.name} after the warm-up")
    over_s = lasted_s * (1 - WARM_UP)
    at_s = [sample.at_s for sample in kept]
    return Growth(
        over_s,
        grown(at_s, [sample.rss_mb for sample in kept], over_s),
        grown(at_s, [sample.files for sample in kept], over_s),
        kept[0].rss_mb,
    )


def none_stayed_open(watched: Watched) -> bool:
    """At rest it has no more open than at rest before."""
    before, after = watched.rest_before, watched.rest_after
    return bool(before and after and after.files + after.sockets <= before.files + before.sockets)


@dataclass(slots=True)
class Window:
    """What became of the requests that ended within it: by kind and outcome (a code, or `answered`). Latencies of
    streams that were answered whole, in ms: of each the median and the 95th percentile; None: there was none."""

    from_s: float
    counts: dict[str, dict[str, int]]
    ttft_ms: list[float] | None
    e2e_ms: list[float] | None


@dataclass(slots=True)
class Result:
    """`capacity_per_s` of visits (a conversation is one), `rate_per_s` what came. `late_ms`: by which 95 % of the
    visits began later than planned. `sizes`: what is bounded, by name, at each sample. `ratios`: the last third's
    median beside the first's. `unexpected`: outcomes that no kind of request should have; `changed`: processes that
    came or ended. `busy`: of the CPUs that the soak was given, what its own had; `others`: of one CPU, what
    processes not of this benchmark had of the machine."""

    date: str
    machine: str
    versions: dict[str, str]
    command: str
    capacity_per_s: float = 0.0
    rate_per_s: float = 0.0
    lasted_s: float = 0.0
    late_ms: float = 0.0
    watched: list[Watched] = field(default_factory=list)
    sizes_at_s: list[float] = field(default_factory=list)
    sizes: dict[str, list[float]] = field(default_factory=dict)
    windows: list[Window] = field(default_factory=list)
    ratios: dict[str, float] = field(default_factory=dict)
    unexpected: dict[str, int] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    busy: float = 0.0
    others: float = 0.0
