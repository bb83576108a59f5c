"""Proof of admission: the gate issues it, an engine call spends it. No permit, no engine call."""

from server.domain import Cost

_SEAL = object()


class PermitMisused(RuntimeError):
    """A bug of ours: an engine would have been called without having been admitted, or twice."""


class Permit:
    """Good for one call of the engines while the block that gave it runs: issued -> used -> closed.

    The pool uses it, once, however many engines it tries; each client checks that it is in use. `issue` alone makes
    permits, and `server.admission.gate` alone calls that (tests/unit/test_permit.py).
    """

    __slots__ = ("_live", "_seal", "cost")

    cost: Cost
    _seal: object
    _live: bool

    def __init__(self) -> None:
        raise PermitMisused("permits are issued by the gate")

    def use(self) -> None:
        """Spend it. Raises PermitMisused the second time, after its end, or where no gate issued it."""
        if getattr(self, "_seal", None) is not _SEAL:
            raise PermitMisused("no gate has issued this permit, or it has been used")
        if not self._live:
            raise PermitMisused("the permit is over")
        self._seal = None

    def check(self) -> None:
        """Raises PermitMisused unless it is in use and not over."""
        if getattr(self, "_seal", _SEAL) is not None or not self._live:
            raise PermitMisused("an engine is called without a permit that is in use")

    def close(self) -> bool:
        """From now on it is good for nothing. Says whether it was good until now: twice does no harm."""
        was_live, self._live = self._live, False
        return was_live


def issue(cost: Cost) -> Permit:
    permit = Permit.__new__(Permit)
    permit.cost = cost
    permit._seal = _SEAL
    permit._live = True
    return permit
