"""What is on its way to the tiers, tier by tier, and what is counted of it. `write_behind.py` moves it."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from server.engine.encoder_cache.entry import Embedding
from server.engine.encoder_cache.tier import Tier


@dataclass(slots=True)
class Waiting:
    """One embedding on its way. Its bytes count until every lane is through with it."""

    key: str
    bytes_of: Callable[[], Embedding] | None
    size: int
    header: bytes = b""
    payload: memoryview = field(default_factory=lambda: memoryview(b""))
    lanes: int = 0
    kept_by: list[Tier] = field(default_factory=list)
    forgotten: bool = False


@dataclass(slots=True)
class WriteFigures:
    """Counted since the process began; `queued` and `bytes_queued` are what is on its way now."""

    offered: int = 0
    dropped: int = 0
    repeated: int = 0
    failed: int = 0
    forgotten: int = 0
    saved: int = 0
    lane_dropped: int = 0
    queued: int = 0
    bytes_queued: int = 0


class Lane:
    """What waits for one tier, in order; `bytes` of it, the one being written included."""

    def __init__(self, tier: Tier) -> None:
        self.tier = tier
        self.waiting: deque[Waiting] = deque()
        self.bytes = 0
