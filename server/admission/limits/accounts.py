"""What each key and tenant has drawn, in this process's memory: levels that rise with draws and fall with time.

`draw.lua` does the same arithmetic in a shared store, operation by operation.
"""

from collections import OrderedDict
from collections.abc import Sequence

from server.allowance import RATES, Budgets, Subject

MINUTE_US = 60_000_000
MOST_ACCOUNTS = 50_000
# Looked at for each new account: more than one, so that they go faster than they come.
LOOKED_AT = 4

# In the order of RATES.
Costs = Sequence[int]


class Account:
    """Levels never fall below nothing; what is drawn twice in the same microsecond adds up exactly.

    Where `gateways` share a store that is lost, each has its part of every limit, and never less than one.
    """

    __slots__ = ("_at", "budgets", "gateways", "levels", "limits", "places", "rates", "running")

    def __init__(self, now: int) -> None:
        self._at = now
        self.levels = [0.0, 0.0, 0.0, 0.0]
        self.running = 0
        self.budgets = Budgets()
        self.gateways = 1
        self.limits: list[int | None] = [None, None, None, None]
        self.rates: tuple[tuple[int, int], ...] = ()
        self.places: int | None = None

    def configure(self, budgets: Budgets, gateways: int) -> None:
        """What has been drawn stays drawn, as long as there is a limit to it."""
        self.budgets, self.gateways = budgets, gateways
        self.rates = tuple((index, share_of(limit, gateways)) for index, limit in budgets.rates())
        self.places = None if budgets.places is None else share_of(budgets.places, gateways)
        self.limits = [dict(self.rates).get(index) for index in range(len(RATES))]
        self.levels = [
            0.0 if limit is None else level for level, limit in zip(self.levels, self.limits, strict=True)
        ]

    def fits(self, costs: Costs, now: int) -> bool:
        """Whether all of it may be drawn now; brings the levels to this moment."""
        elapsed = now - self._at
        self._at = now
        fits = self.places is None or self.running < self.places
        levels = self.levels
        for index, limit in self.rates:
            level = levels[index] - elapsed * limit / MINUTE_US if limit else 0.0
            if level < 0:
                level = 0.0
            levels[index] = level
            if level + costs[index] > limit:
                fits = False
        return fits

    def lends(self, costs: Costs) -> bool:
        """Like `fits`, at the same moment, but what is larger than this gateway's share goes where all of it is."""
        if self.places is not None and self.running >= self.places:
            return False
        return all(self.levels[index] + min(costs[index], limit) <= limit for index, limit in self.rates)

    def take(self, costs: Costs) -> None:
        self.running += 1
        levels = self.levels
        for index, _ in self.rates:
            levels[index] += costs[index]

    def mirror(self, costs: Costs, now: int) -> None:
        """Note what was drawn elsewhere: at most until this gateway's own share is drawn."""
        self.fits(costs, now)
        self.take(costs)
        for index, limit in self.rates:
            self.levels[index] = min(self.levels[index], float(limit))

    def settle(self, changes: Costs, now: int) -> None:
        """Draw more, or give back. This may go over a limit: it has been used already."""
        self.fits(changes, now)
        for index, _ in self.rates:
            self.levels[index] = max(0.0, self.levels[index] + changes[index])

    def is_in_hand(self, now: int) -> bool:
        """Whoever draws from several at this moment holds it."""
        return self._at >= now

    def is_idle(self, now: int) -> bool:
        """Nothing of it need be remembered."""
        self.fits((0, 0, 0, 0), now)
        return not self.running and not any(self.levels)


def share_of(limit: int, gateways: int) -> int:
    return limit if gateways <= 1 else max(min(limit, 1), limit // gateways)


class Accounts:
    """Bounded: those that are idle are forgotten, the one that nobody touched for longest first."""

    def __init__(self, most: int = MOST_ACCOUNTS) -> None:
        self._accounts: OrderedDict[str, Account] = OrderedDict()
        self._most = most
        self.gateways = 1

    def __len__(self) -> int:
        return len(self._accounts)

    def of(self, subject: Subject, now: int) -> Account:
        account = self._accounts.get(subject.name)
        if account is None:
            self._make_room(now)
            account = self._accounts[subject.name] = Account(now)
        else:
            self._accounts.move_to_end(subject.name)
        if account.budgets is not subject.budgets or account.gateways != self.gateways:
            account.configure(subject.budgets, self.gateways)
        return account

    def _make_room(self, now: int) -> None:
        """Over the bound, one that is not idle goes, too, unless its requests run: memory is worth more."""
        full = len(self._accounts) >= self._most
        for _ in range(min(LOOKED_AT, len(self._accounts))):
            name, account = next(iter(self._accounts.items()))
            if not account.is_in_hand(now) and (account.is_idle(now) or (full and not account.running)):
                del self._accounts[name]
                full = False
            else:
                self._accounts.move_to_end(name)
