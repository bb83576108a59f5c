"""Draws a request's cost from the budgets of its key and tenant, all or nothing, before it may wait at the gate."""

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from server.admission.limits.accounts import Account, Accounts, Costs
from server.admission.limits.wording import State, check_possible, headers_of, lacks, refusal_of
from server.allowance import Subject
from server.domain import Cost, RawHeaders, Tenant
from server.metrics import Metrics

Clock = Callable[[], int]
Kind = type[BaseException] | None


def monotonic_us() -> int:
    return time.monotonic_ns() // 1000


class Draw:
    """What a request has drawn. Leaving the `with` block gives back its places and whatever it did not use:
    of a request that no engine began, all but the request itself."""

    __slots__ = ()
    undecided = False

    async def decide(self) -> None:
        """To be awaited where it is `undecided`. Raises as `Limits.draw`."""

    def begin(self) -> None:
        """An engine answers: what was drawn counts as used."""

    def settle(self, tokens: int) -> None:
        """How many it used, prompt and answer, as the engine counts them."""

    def headers(self) -> RawHeaders:
        """What the caller is told of its limits."""
        return ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Kind, error: BaseException | None, at: TracebackType | None) -> None:
        pass


NO_DRAW = Draw()


class MemoryDraw(Draw):
    """Drawn from this process's own accounts."""

    __slots__ = ("_accounts", "_begun", "_clock", "_closed", "_costs", "_tokens")

    def __init__(self, accounts: Sequence[Account], costs: Costs, clock: Clock) -> None:
        self._accounts = accounts
        self._costs = costs
        self._clock = clock
        self._begun = False
        self._tokens: int | None = None
        self._closed = False

    def begin(self) -> None:
        self._begun = True

    def settle(self, tokens: int) -> None:
        self._tokens = tokens

    def headers(self) -> RawHeaders:
        return headers_of(self._accounts)

    def __exit__(self, kind: Kind, error: BaseException | None, at: TracebackType | None) -> None:
        if self._closed:
            return
        self._closed = True
        changes = self._changes()
        for account in self._accounts:
            account.running -= 1
            if changes is not None:
                account.settle(changes, self._clock())

    def _changes(self) -> Costs | None:
        _, images, image_tokens, tokens = self._costs
        if not self._begun:
            return (0, -images, -image_tokens, -tokens)
        return None if self._tokens is None else (0, 0, 0, self._tokens - tokens)


class Limits:
    """Draws from memory: the limits of one gateway that shares them with no other."""

    def __init__(self, metrics: Metrics, clock: Clock = monotonic_us, accounts: Accounts | None = None) -> None:
        self._accounts = Accounts() if accounts is None else accounts
        self._metrics = metrics
        self.clock = clock

    def draw(self, tenant: Tenant, cost: Cost, images: int = 0) -> Draw:
        """To be closed by `with`. Raises RateLimitExceeded, OverBudget."""
        subjects = tenant.allowance
        if not subjects:
            return NO_DRAW
        costs = (1, images, cost.image_tokens, cost.total)
        return MemoryDraw(self._draw_here(subjects, costs), costs, self.clock)

    async def start(self) -> None:
        """Nothing here; what shares limits connects."""

    async def close(self) -> None:
        """The same."""

    def _draw_here(self, subjects: Sequence[Subject], costs: Costs) -> list[Account]:
        now = self.clock()
        fits = True
        accounts = []
        for subject in subjects:
            account = self._accounts.of(subject, now)
            accounts.append(account)
            if not account.fits(costs, now):
                fits = False
        if not fits:
            check_possible(subjects, costs)
            if self._accounts.gateways == 1 or not all(account.lends(costs) for account in accounts):
                self._refuse(states_of(subjects, accounts), costs)
        for account in accounts:
            account.take(costs)
        return accounts

    def _refuse(self, states: Sequence[State], costs: Costs) -> None:
        """Raises RateLimitExceeded."""
        lack = max(lacks(states, costs), key=lambda each: each.wait_us)
        self._metrics.limit_refusals.labels(lack.subject.kind, lack.budget).inc()
        raise refusal_of(lack, states)


def states_of(subjects: Sequence[Subject], accounts: Sequence[Account]) -> list[State]:
    return [
        State(subject, account.limits, account.places, account.levels, account.running)
        for subject, account in zip(subjects, accounts, strict=True)
    ]
