"""How fast a pool gives back what requests hold, in tokens a second: what `Retry-After` is made of."""

# Of what was measured, the older half-life back counts half. Long enough for answers of several seconds.
HALF_LIFE_S = 10.0


class DrainRate:
    """Measured only while somebody waits: otherwise it would tell what is asked for, not what the pool can do.

    None until then. `sure` says that it has been measured for a half-life.
    """

    def __init__(self) -> None:
        self._tokens = 0.0
        self._seconds = 0.0
        self._measured_s = 0.0
        self._before: tuple[float, int] | None = None

    def sample(self, now: float, released: int, waiting: bool) -> None:
        """`released` tokens in all, so far. To be called about once a second."""
        if self._before is not None:
            elapsed = now - self._before[0]
            if elapsed > 0:
                keep = 0.5 ** (elapsed / HALF_LIFE_S)
                self._tokens = self._tokens * keep + released - self._before[1]
                self._seconds = self._seconds * keep + elapsed
                self._measured_s += elapsed
        self._before = (now, released) if waiting else None

    @property
    def per_second(self) -> float | None:
        return self._tokens / self._seconds if self._tokens > 0 and self._seconds > 0 else None

    @property
    def sure(self) -> bool:
        return self._measured_s >= HALF_LIFE_S and self._tokens > 0
