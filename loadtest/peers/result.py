"""What the benchmark of peers notes; a part of gateway.json."""

from dataclasses import dataclass, field

# The upstream itself, asked with no gateway between.
UPSTREAM = "no gateway"
SMALL, MIDDLE, LARGE = "small", "500 KB", "4 MB"


@dataclass(frozen=True, slots=True)
class PeerRun:
    """A closed loop. CPU is that of the subject's processes for one request; `busy` its share of its core."""

    subject: str
    body: str
    connections: int
    requests: int
    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    busy: float

    @property
    def per_cpu_s(self) -> float:
        """Requests that one second of CPU is enough for: what its core could do, were callers never waited for."""
        return 1000 / self.cpu_ms if self.cpu_ms else 0


@dataclass(frozen=True, slots=True)
class PeerStreams:
    """Paced streams; delays from the upstream's sending a token to the caller's having it."""

    subject: str
    pictures: int
    tokens: int
    cpu_ms: float  # for 1,000 tokens
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class PeerMemory:
    subject: str
    uploads: int
    rest_mb: float
    peak_mb: float

    @property
    def added_mb(self) -> float:
        return self.peak_mb - self.rest_mb


@dataclass(slots=True)
class Peers:
    """`skipped`: a gateway that was not measured, and why; `settings`: how each that was is set up."""

    date: str
    machine: str
    rounds: int
    versions: dict[str, str]
    settings: dict[str, str]
    skipped: dict[str, str]
    runs: list[PeerRun] = field(default_factory=list)
    streams: list[PeerStreams] = field(default_factory=list)
    memory: list[PeerMemory] = field(default_factory=list)
    others: float = 0.0
