"""What the benchmark notes; embedding-cache.json holds exactly this."""

import json
from dataclasses import dataclass, field

STOCK, EXAMPLE, OURS = "stock vLLM", "ECExampleConnector", "Fovea"
COLD, OWN, HOST, DISK, SHARED, RESTART, AGAIN, TEXT, FIRST = (
    "cold: the encoder runs",
    "in vLLM's own memory",
    "in our host memory",
    "on disk",
    "in the shared tier (Valkey), on a second engine",
    "after an engine restart",
    "again, pushed out of vLLM's memory",
    "as many tokens of text",
    "as many tokens of text, first after an engine restart",
)
TIERS = (COLD, AGAIN, OWN, HOST, DISK, RESTART, SHARED, TEXT, FIRST)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `found`: what our connector says of it, by its metric; nothing of others."""

    subject: str
    side: int
    tier: str
    first_token_s: float
    found: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """The same fresh picture on an engine without a connector and on one with ours, the order taking turns.

    `calls_s`: what all calls of the connector took; `waited_s`: how long it held the request back.
    """

    side: int
    without_s: float
    with_s: float
    calls_s: float
    waited_s: float


@dataclass(frozen=True, slots=True)
class Count:
    """Over all engines and restarts of a subject."""

    subject: str
    pictures: int
    requests: int
    engines: int
    encoder_runs: int


@dataclass(slots=True)
class Result:
    """Of one run. `others`: the part of the machine's CPUs that other programs had before or after it,
    whichever was more."""

    date: str
    machine: str
    versions: dict[str, str]
    tower_bytes: int
    embedding_bytes: dict[str, int]
    start_s: dict[str, float] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    counts: list[Count] = field(default_factory=list)
    others: float = 0.0
    took_s: float = 0.0


def read_result(text: str) -> Result:
    raw = json.loads(text)
    for name, kind in (("asked", Asked), ("pairs", Pair), ("counts", Count)):
        raw[name] = [kind(**each) for each in raw[name]]
    return Result(**raw)
