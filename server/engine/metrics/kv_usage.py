"""How much of vLLM's KV cache is used: noted at every step by `stat_logger.py`, read by scrapes.

A peak between two scrapes is a peak: so it is noted as it happens. That costs a step well under a microsecond.
"""


class KvUsage:
    """Of all engine cores of this API server. `note` is called by one thread."""

    def __init__(self) -> None:
        self._shares: dict[int, float] = {}
        self.peak = 0.0

    def begin(self, engines: list[int]) -> None:
        self._shares = dict.fromkeys(engines, 0.0)

    def note(self, engine: int, share: float) -> None:
        """`share` of that engine core's KV cache, 0 to 1."""
        if engine in self._shares:
            self._shares[engine] = share
            used = share if len(self._shares) == 1 else sum(self._shares.values())
            if used > self.peak:
                self.peak = used

    @property
    def engines(self) -> int:
        """0 where nobody notes anything: vLLM was told to keep no statistics."""
        return len(self._shares)

    @property
    def used(self) -> float:
        """In KV caches of one engine core."""
        return sum(self._shares.values())


of_this_process = KvUsage()
