"""Whether an engine may be chosen, and for how much of the load: decided by its answers, and by probes.

An engine is in only once it has answered a generation (`proved`). It goes out when it cannot be reached, when it
cannot answer a generation now, or when it fails more of its requests than is bearable (an outlier). The sooner it
goes out again, the longer it stays out; and it comes back with a small share of the load, which grows.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

# Of a full load, for an engine that has just come in.
FIRST_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class HealthRules:
    """`failures` in a row, or `error_rate` of at least `least_requests` within the last one to two `window_s`, make
    an outlier. It is out for `eject_s`, twice as long each time, `eject_most_s` at most."""

    failures: int = 5
    error_rate: float = 0.5
    least_requests: int = 20
    window_s: float = 30
    eject_s: float = 5
    eject_most_s: float = 300
    slow_start_s: float = 30


class Health:
    """Of one engine. `is_in` is changed by `prove` and `put_out` alone; `is_ejected`: it is out for its faults."""

    __slots__ = (
        "_bad", "_clock", "_good", "_in_a_row", "_old_bad", "_old_good", "_outs", "_proved_at", "_rules", "_until",
        "_window_began", "is_ejected", "is_in",
    )  # fmt: skip

    _in_a_row: int
    _good: int
    _bad: int
    _old_good: int
    _old_bad: int
    _window_began: float

    def __init__(self, rules: HealthRules, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules = rules
        self._clock = clock
        self.is_in = self.is_ejected = False
        self._outs = 0
        self._until = self._proved_at = 0.0
        self._forget_answers()

    def succeeded(self) -> None:
        self._in_a_row = 0
        self._good += 1

    def failed(self) -> bool:
        """Count a failure that was the engine's own; whether it is an outlier now."""
        self._in_a_row += 1
        self._bad += 1
        bad = self._bad + self._old_bad
        all_of_them = bad + self._good + self._old_good
        many = all_of_them >= self._rules.least_requests and bad >= self._rules.error_rate * all_of_them
        return many or self._in_a_row >= self._rules.failures

    @property
    def may_be_asked(self) -> bool:
        """Whether a probe may bring it back already."""
        return self._clock() >= self._until

    def prove(self) -> None:
        """It has answered a generation."""
        if not self.is_in:
            self.is_in, self.is_ejected = True, False
            self._proved_at = self._clock()
            self._forget_answers()

    def put_out(self, *, at_fault: bool) -> None:
        """Until it answers a generation again: `at_fault`, not at once where it was put out not long ago.

        The first time costs nothing but that proof: whatever has failed may be back by now.
        """
        self.is_ejected = at_fault
        if not self.is_in:
            return
        self.is_in = False
        if not at_fault:
            return
        now = self._clock()
        if now - self._proved_at >= self._rules.eject_most_s:
            self._outs = 0
        wait_s = 0.0 if not self._outs else self._rules.eject_s * 2.0 ** min(self._outs - 1, 30)
        self._until = now + min(wait_s, self._rules.eject_most_s)
        self._outs += 1

    def turn_window(self) -> None:
        """To be called every now and then."""
        now = self._clock()
        if now - self._window_began >= self._rules.window_s:
            self._old_good, self._old_bad = self._good, self._bad
            self._good = self._bad = 0
            self._window_began = now

    @property
    def share(self) -> float:
        """Of a full load: 1 but for engines that have come in a short while ago."""
        if self._rules.slow_start_s <= 0:
            return 1.0
        return min(1.0, max(FIRST_SHARE, (self._clock() - self._proved_at) / self._rules.slow_start_s))

    def _forget_answers(self) -> None:
        self._in_a_row = self._good = self._bad = self._old_good = self._old_bad = 0
        self._window_began = self._clock()
