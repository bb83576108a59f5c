"""What the look-ups and the host memory count: the connector's metrics are made of it."""

from dataclasses import dataclass


@dataclass(slots=True)
class LookupFigures:
    """Counted since the process began; from `entries` on, what is so now."""

    begun: int = 0
    found_disk: int = 0
    found_shared: int = 0
    absent: int = 0
    late: int = 0
    refused: int = 0
    forgotten: int = 0
    no_room: int = 0
    evicted: int = 0
    expired: int = 0
    entries: int = 0
    bytes_held: int = 0
    bytes_pinned: int = 0
    capacity_bytes: int = 0
    looking: int = 0
    remembered_absent: int = 0
