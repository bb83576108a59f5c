"""Log lines about what goes wrong again and again: one a minute for each reason, and how many were not told."""

import logging
import time
from collections.abc import Callable

log = logging.getLogger("fovea.encoder_cache")

QUIET_S = 60.0
MAX_REASONS = 64


class Complaints:
    """Bounded: reasons are words of ours. Two threads at once may tell one line twice, no more."""

    def __init__(self, about: str, now: Callable[[], float] = time.monotonic) -> None:
        self.about, self.now = about, now
        self.told: dict[str, tuple[float, int]] = {}

    def tell(self, reason: str, detail: str = "") -> None:
        """`detail` says no more of a picture than 12 characters of its key."""
        now = self.now()
        if reason not in self.told and len(self.told) >= MAX_REASONS:
            return
        last, unsaid = self.told.get(reason, (now - QUIET_S, 0))
        if now - last < QUIET_S:
            self.told[reason] = (last, unsaid + 1)
            return
        self.told[reason] = (now, 0)
        more = f", {unsaid} more before" if unsaid else ""
        log.warning("%s: %s%s%s", self.about, reason, detail and f" ({detail})", more)
