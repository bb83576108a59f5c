"""What the benchmark notes; gateway.json holds exactly this."""

import json
from dataclasses import dataclass, field

from loadtest.peers.result import PeerMemory, PeerRun, Peers, PeerStreams

DIRECT, OURS = "direct", "gateway"
# The bodies that ask for a picture to be drawn anew: as small as it is by default, and large.
LOW, LARGE = "4 MB, low detail", "4 MB, downscaled"


@dataclass(frozen=True, slots=True)
class Run:
    """One closed loop. Times in ms; `stall_ms` is the longest time in which the gateway's loop did not come round,
    `own_stall_ms` the longest that its thread was running meanwhile. For the upstream, asked directly, CPU is 0."""

    subject: str
    body: str
    callers: int
    requests: int
    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    system_ms: float
    faults: float
    stall_ms: float
    own_stall_ms: float


@dataclass(frozen=True, slots=True)
class StageTimes:
    """CPU of the passes through one stage in one run."""

    body: str
    stage: str
    passes: int
    median_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Streams:
    """Delay of each streamed token between upstream and caller, while `uploads` pictures were sent."""

    subject: str
    uploads: int
    tokens: int
    p50_ms: float
    p99_ms: float
    worst_ms: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of a fresh gateway, at rest and at its peak while it holds `uploads` bodies at once."""

    subject: str
    uploads: int
    body_mb: float
    idle_mb: float
    peak_mb: float

    @property
    def bodies(self) -> float:
        """What was added, in bodies, for each that was held."""
        return (self.peak_mb - self.idle_mb) / self.body_mb / self.uploads


@dataclass(frozen=True, slots=True)
class Leaving:
    """From the leaving of a caller, one of `callers`, to the upstream's seeing its connection closed: while a
    `stream` ran, or before a whole answer began."""

    subject: str
    stream: bool
    callers: int
    p50_ms: float
    p99_ms: float
    worst_ms: float


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What one thing takes of this machine by itself, in ms of CPU: of the 4 MB picture, or of its body."""

    what: str
    ms: float


@dataclass(slots=True)
class Result:
    """`others` is the share of the machine's CPUs that processes not of this benchmark had meanwhile."""

    date: str
    machine: str
    versions: dict[str, str]
    rounds: int
    body_bytes: dict[str, int]
    runs: list[Run] = field(default_factory=list)
    stages: list[StageTimes] = field(default_factory=list)
    streams: list[Streams] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    yardsticks: list[Yardstick] = field(default_factory=list)
    leaving: list[Leaving] = field(default_factory=list)
    others: float = 0.0
    peers: Peers | None = None


def read_result(text: str) -> Result:
    """What gateway.json holds. Raises TypeError for one that was written by another version of this."""
    told = json.loads(text)
    peers = told.pop("peers", None)
    kinds = {
        "runs": Run,
        "stages": StageTimes,
        "streams": Streams,
        "memory": Memory,
        "yardsticks": Yardstick,
        "leaving": Leaving,
    }
    for name, kind in kinds.items():
        told[name] = [kind(**each) for each in told.get(name, ())]
    if peers is not None:
        for name, kind in {"runs": PeerRun, "streams": PeerStreams, "memory": PeerMemory}.items():
            peers[name] = [kind(**each) for each in peers[name]]
    return Result(**told, peers=Peers(**peers) if peers else None)
