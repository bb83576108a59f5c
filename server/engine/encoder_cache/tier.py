"""What keeps embeddings beyond the process (a folder, Redis) looks like to look-ups and write-behind."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, Protocol

from server.engine.encoder_cache.entry import Embedding

TierName = Literal["disk", "shared"]


@dataclass(slots=True)
class TierFigures:
    """Counted since the process began, but for `entries` and `bytes_held`, which are what lies there now.

    `bad` counts entries that were there and not right, by entry.Reason and a few words more; `failures` what the
    place itself refused (a full disk, a lost connection). Only the tier writes, under a lock of its own.
    """

    hits: int = 0
    misses: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    evictions: int = 0
    entries: int = 0
    bytes_held: int = 0
    seconds_read: float = 0.0
    seconds_written: float = 0.0
    bad: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)


class Tier(Protocol):
    """Every method may be called from any thread, and none raises: what goes wrong is a miss, and counted."""

    name: TierName
    figures: TierFigures

    def get(self, key: str) -> Embedding | None:
        """The verified embedding, its memory the caller's own."""

    def put(self, key: str, header: bytes, payload: memoryview) -> bool:
        """Whether it is kept now: whole, or not at all. `entry.pack` made header and payload."""

    def forget(self, key: str) -> bool:
        """No get after this finds it, nor does a put that began before bring it back. False: it may be there."""

    def close(self) -> None:
        """Ends what runs in the background. What is kept stays."""
