"""What tiers, look-ups and write-behind count, under the names by which `stats.py` carries it to the metrics.

The scheduler's process tells of what it reads, the writing worker of what it writes. Both have opened the same
tiers, so what lies in them is told by the scheduler's process alone.
"""

from collections.abc import Sequence

from server.engine.encoder_cache.opening import Reading, Writing
from server.engine.encoder_cache.tier import Tier

# Totals, and what is so now.
Figures = tuple[dict[str, float], dict[str, float]]


def of_reading(reading: Reading, is_on: bool) -> Figures:
    found, promoted = reading.lookups.figures, reading.promoting.figures
    totals = of_tiers(reading.tiers)
    totals |= {
        "evictions|host": found.evicted + found.expired,
        "errors|host|no_room": found.no_room,
        "errors|host|late": found.late,
        "errors|host|refused": found.refused,
    }
    held: dict[str, float] = {"on": float(is_on), "entries|host": found.entries, "bytes|host": found.bytes_held}
    held["queue_bytes|promotion"] = promoted.bytes_queued
    totals["dropped|promotion"] = promoted.dropped
    for tier in reading.tiers:
        held[f"entries|{tier.name}"] = tier.figures.entries
        held[f"bytes|{tier.name}"] = tier.figures.bytes_held
    return totals, held


def of_writing(writing: Writing) -> Figures:
    written = writing.behind.figures
    totals = of_tiers(writing.tiers)
    totals |= {"dropped|saving": written.dropped + written.lane_dropped, "errors|host|not_fetched": written.failed}
    return totals, {"queue_bytes|saving": written.bytes_queued}


def of_tiers(tiers: Sequence[Tier]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for tier in tiers:
        name, figures = tier.name, tier.figures
        totals |= {
            f"reads|{name}": figures.hits,
            f"read_bytes|{name}": figures.bytes_read,
            f"read_seconds|{name}": figures.seconds_read,
            f"written_bytes|{name}": figures.bytes_written,
            f"write_seconds|{name}": figures.seconds_written,
            f"evictions|{name}": figures.evictions,
        }
        # One word may stand in both: `permission`, `large`.
        errors = figures.bad.copy() + figures.failures.copy()
        totals |= {f"errors|{name}|{reason}": number for reason, number in errors.items()}
    return totals
