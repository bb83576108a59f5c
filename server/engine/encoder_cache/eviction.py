"""Which entries go first when a folder is full: pure, so that it is read and tested without one.

S3-FIFO's idea (Yang et al., SOSP 2023) with two shelves: what has not been hit yet may hold a tenth of the capacity
once it is needed, so a scan of pictures that never come back displaces only itself; what has been hit goes by its
last hit. What went unhit and is written again is kept at once (`ghosts.py`). Namespaces that no engine has used for
an hour go before anything else.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from server.engine.encoder_cache.folder_layout import Found

NEW_SHARE = 0.1
# A clock that was set back must not make entries immortal.
AHEAD_S = 3600.0


def eviction_order(
    found: Sequence[Found], live: AbstractSet[str], capacity_bytes: int, now: float
) -> Iterator[Found]:
    """Every entry but pinned ones, the first to go first. Taking one counts as evicting it."""

    def by_age(items: list[Found]) -> deque[Found]:
        return deque(sorted(items, key=lambda each: each.changed_s if each.changed_s < now + AHEAD_S else 0.0))

    yield from by_age([each for each in found if each.namespace not in live and each.shelf != "pinned"])
    new = by_age([each for each in found if each.namespace in live and each.shelf == "new"])
    kept = by_age([each for each in found if each.namespace in live and each.shelf == "kept"])
    new_bytes = sum(each.size_bytes for each in new)
    while new or kept:
        if new and (not kept or new_bytes > NEW_SHARE * capacity_bytes):
            new_bytes -= new[0].size_bytes
            yield new.popleft()
        else:
            yield kept.popleft()
