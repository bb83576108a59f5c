"""Proof of admission: the gate issues it, an engine call spends it. No permit, no engine call."""

from typing import Protocol

from server.domain import Cost

_SEAL = object()


class PermitMisused(RuntimeError):
    """A bug of ours: an engine would have been called without having been admitted, or twice."""


class Room(Protocol):
    """The gate that a permit is of."""

    def take_more(self, tokens: int) -> bool: ...

    def give(self, tokens: int) -> None: ...


class Permit:
    """Good for one call of the engines while the block that gave it runs: issued -> used -> closed.

    The pool uses it, once, however many engines it tries; each client checks that it is in use. `issue` alone makes
    permits, and `server.admission.gate` alone calls that (tests/unit/test_permit.py).

    Two engines may work on that call at once (`server.engines.hedge`) while the permit is wide: then the gate's
    books hold it twice, which they do only where nobody waits and there is room. One of the two is cut off before
    the other's answer is lent, so what the permit vouches for after that is one again.
    """

    __slots__ = ("_live", "_room", "_seal", "_tokens", "_wide", "cost")

    cost: Cost
    _seal: object
    _live: bool
    _room: Room | None
    _tokens: int
    _wide: bool

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

    def widen(self) -> bool:
        """Hold what it holds of the gate once more; False where that has no room to spare. Raises PermitMisused."""
        self.check()
        if self._wide or self._room is None or not self._room.take_more(self._tokens):
            return False
        self._wide = True
        return True

    def narrow(self) -> None:
        """Give back what it was widened by, if it was."""
        if self._wide and self._room is not None:
            self._wide = False
            self._room.give(self._tokens)

    def close(self) -> bool:
        """From now on it is good for nothing. Says whether it was good until now: twice does no harm."""
        was_live, self._live = self._live, False
        self.narrow()
        return was_live


def issue(cost: Cost, room: Room | None = None, tokens: int = 0) -> Permit:
    """For `cost`, which holds `tokens` of the `room`."""
    permit = Permit.__new__(Permit)
    permit.cost = cost
    permit._room = room
    permit._tokens = tokens
    permit._wide = False
    permit._seal = _SEAL
    permit._live = True
    return permit
