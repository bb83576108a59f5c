"""Limits that several gateways share: drawn in one call of the store; while that is lost, from a share of them."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from server.admission.limits.accounts import Account, Costs
from server.admission.limits.memory import NO_DRAW, Draw, Kind, Limits, MemoryDraw
from server.admission.limits.store_line import DRAW, Command, StoreLine, StoreLost
from server.admission.limits.wording import State, check_possible, headers_of
from server.allowance import RATES, Subject
from server.domain import Cost, RawHeaders, Tenant
from server.metrics import Metrics


class SharedLimits(Limits):
    """What is drawn in the store is noted in this process's accounts, too, so that a gateway whose store is lost
    does not begin its share anew."""

    def __init__(self, metrics: Metrics, line: StoreLine, prefix: str) -> None:
        super().__init__(metrics)
        self._line = line
        self._prefix = prefix

    async def start(self) -> None:
        await self._line.start()

    async def close(self) -> None:
        await self._line.close()

    def draw(self, tenant: Tenant, cost: Cost, images: int = 0) -> Draw:
        """As of memory, but that it may be undecided yet: the error then comes from `Draw.decide`."""
        subjects = tenant.allowance
        if not subjects:
            return NO_DRAW
        costs = (1, images, cost.image_tokens, cost.total)
        check_possible(subjects, costs)
        draw = SharedDraw(self, self._line, subjects, costs)
        draw.ask()
        return draw

    def take_here(self, subjects: Sequence[Subject], costs: Costs) -> list[Account]:
        """Without the store. Raises RateLimitExceeded."""
        self._accounts.gateways = self._line.gateways
        return self._draw_here(subjects, costs)

    def note(self, subjects: Sequence[Subject], costs: Costs) -> list[Account]:
        """What the store has let through."""
        self._accounts.gateways = self._line.gateways
        now = self.clock()
        accounts = []
        for subject in subjects:
            account = self._accounts.of(subject, now)
            account.mirror(costs, now)
            accounts.append(account)
        return accounts

    def command(
        self, subjects: Sequence[Subject], costs: Costs | None, lease: str, settles: bool = False
    ) -> Command:
        """Draws `costs` and a place, or settles them and gives the place back."""
        keys: list[str] = []
        arguments: list[str | int] = ["", lease, "" if settles else self._line.lease_us, "1" if settles else ""]
        for subject in subjects:
            keys += (f"{self._prefix}{subject.name}:levels", self.leases_of(subject))
            rates = subject.budgets.rates() if costs is not None else ()
            places = subject.budgets.places
            arguments += (-1 if places is None else places, len(rates))
            for index, limit in rates:
                arguments += (RATES[index], limit, costs[index] if costs is not None else 0)
        return DRAW.call(keys, arguments)

    def leases_of(self, subject: Subject) -> str:
        return f"{self._prefix}{subject.name}:leases"

    def refuse(self, states: Sequence[State], costs: Costs) -> None:
        """Raises RateLimitExceeded."""
        self._refuse(states, costs)


class SharedDraw(MemoryDraw):
    """Undecided until the store has answered, or is lost. Given back wherever it was drawn."""

    __slots__ = (
        "_in_store",
        "_lease",
        "_limits",
        "_line",
        "_placed",
        "_reply",
        "_states",
        "_subjects",
        "undecided",
    )

    def __init__(self, limits: SharedLimits, line: StoreLine, subjects: Sequence[Subject], costs: Costs) -> None:
        super().__init__((), costs, limits.clock)
        self._limits = limits
        self._line = line
        self._subjects = subjects
        self._placed = [limits.leases_of(each) for each in subjects if each.budgets.places is not None]
        self._lease = line.new_lease() if self._placed else ""
        self._reply: asyncio.Future[Any] | None = None
        self._states: Sequence[State] = ()
        self._in_store = False
        self.undecided = False

    def ask(self) -> None:
        try:
            self._reply = self._line.ask(self._limits.command(self._subjects, self._costs, self._lease), self._undo)
        except StoreLost:
            self._take_here()
        else:
            self.undecided = True

    async def decide(self) -> None:
        if self._reply is None:
            return
        try:
            reply = await self._reply
        except StoreLost:
            self.undecided = False
            self._take_here()
            return
        self.undecided = False
        self._states = read_reply(reply, self._subjects)
        if not reply[0]:
            self._limits.refuse(self._states, self._costs)
        self._in_store = True
        self._accounts = self._limits.note(self._subjects, self._costs)
        self._line.hold(self._placed, self._lease)

    def headers(self) -> RawHeaders:
        return headers_of(self._states or self._accounts)

    def __exit__(self, kind: Kind, error: BaseException | None, at: TracebackType | None) -> None:
        if self._closed:
            return
        if self.undecided:
            self._leave()
        elif self._accounts:
            self._line.let_go(self._placed, self._lease)
            changes = self._changes() if self._in_store else None
            if changes is not None or self._placed:
                self._line.tell(self._limits.command(self._subjects, changes, self._lease, settles=True))
        super().__exit__(kind, error, at)

    def _take_here(self) -> None:
        self._accounts = self._limits.take_here(self._subjects, self._costs)
        self._line.hold(self._placed, self._lease)

    def _leave(self) -> None:
        """Whoever asked did not wait for the answer. One that is still to come is undone by the line."""
        reply = self._reply
        if reply is not None and not reply.cancel() and not reply.cancelled() and reply.exception() is None:
            self._undo(reply.result())

    def _undo(self, reply: Any) -> None:
        if reply[0]:
            all_of_it = tuple(-cost for cost in self._costs)
            self._line.tell(self._limits.command(self._subjects, all_of_it, self._lease, settles=True))


def read_reply(reply: Sequence[Any], subjects: Sequence[Subject]) -> list[State]:
    """What draw.lua gives: whether it was drawn, then of each subject its places that are taken and its levels."""
    states, at = [], 1
    for subject in subjects:
        levels = [0.0] * len(RATES)
        limits: list[int | None] = [None] * len(RATES)
        running = int(reply[at])
        for index, limit in subject.budgets.rates():
            at += 1
            levels[index], limits[index] = float(reply[at]), limit
        at += 1
        states.append(State(subject, limits, subject.budgets.places, levels, running))
    return states
