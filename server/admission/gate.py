"""Lets requests through to one pool of engines while they fit; the rest wait in line, bounded in number and time.

A permit is an argument of the call that needs it: no permit, no engine call.
"""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from server.admission.books import Books
from server.admission.brake import Brake, BrakeRules, Load
from server.admission.drain_rate import DrainRate
from server.admission.fair_queue import Waiter
from server.admission.line import Line
from server.domain import PRIORITIES, Cost, Tenant, Terms
from server.errors import DeadlineExceeded, QueueFull, WaitedTooLong, WaitTooLong
from server.metrics import Metrics
from server.permit import Permit, PermitMisused, issue

# Before anything has been measured.
FIRST_RETRY_S = 2
# A wait is surely too long if it were so at this multiple of the measured rate.
MARGIN = 1.5


@dataclass(frozen=True, slots=True)
class GateRules:
    """`wait_timeout_s` is for requests without a deadline; `answer_tokens` is what an answer without max_tokens is
    taken to have."""

    brake: BrakeRules
    max_waiting: int
    wait_timeout_s: float
    most_retry_after_s: int
    answer_tokens: int
    ageing_s: float


class Gate:
    """Never lets in more than fits, but always one. What fits, `brake` says; who is next, `line`."""

    def __init__(
        self, rules: GateRules, model: str, metrics: Metrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rules = rules
        self._clock = clock
        self.books = Books()
        self.line = Line(rules.ageing_s, clock)
        self.brake = Brake(rules.brake)
        self.drain = DrainRate()
        self._each_tokens = 0
        self._observe_wait = {priority: metrics.wait.labels(model, priority).observe for priority in PRIORITIES}
        self._misses = metrics.deadline_misses
        self._missed = {priority: (model, priority) for priority in PRIORITIES}
        for series in self._missed.values():
            self._misses.add(series, 0)

    def admit(self, cost: Cost, tenant: Tenant, terms: Terms) -> "Admission":
        """Hold what the request costs while the block runs. Entering raises QueueFull, WaitedTooLong, WaitTooLong,
        DeadlineExceeded."""
        return Admission(self, cost, tenant, terms)

    def hold_of(self, cost: Cost) -> int:
        """Tokens that a request holds: all that it may come to take."""
        tokens = cost.total if cost.max_tokens else cost.total + self._rules.answer_tokens
        return max(1, tokens + self._each_tokens)

    def fits(self, tokens: int) -> bool:
        """What is larger than all there is goes alone."""
        books, brake = self.books, self.brake
        if not books.places:
            return True
        return books.places < brake.places and (brake.tokens is None or books.tokens + tokens <= brake.tokens)

    def take_more(self, tokens: int) -> bool:
        """For a request that is in already: only what nobody waits for."""
        if self.line.count or not self.books.places or not self.fits(tokens):
            return False
        self.books.take(tokens)
        return True

    def give(self, tokens: int) -> None:
        self.books.give(tokens)
        if self.line.count:
            self.wake()

    def wake(self) -> None:
        """Let in whoever is first, as long as it fits."""
        waiter = self.line.first()
        while waiter is not None and self.fits(waiter.tokens):
            self.line.serve(waiter)
            self.books.take(waiter.tokens)
            waiter.let_in = True
            settle(waiter, None)
            waiter = self.line.first()

    def refresh(self, load: Load | None) -> None:
        """About once a second. `load` is what the engines have newly reported, None if nothing."""
        waiting = self.line.count > 0
        if load is not None:
            self.brake.adjust(load, self.books.places, self.books.tokens, waiting)
            self._each_tokens = load.each_tokens
        self.drain.sample(self._clock(), self.books.released, waiting)
        self.wake()

    async def wait(self, tokens: int, tenant: Tenant, terms: Terms) -> None:
        """Return once `tokens` are taken. However this ends otherwise, nothing is held and nobody waits."""
        now = self._clock()
        left_s = self._rules.wait_timeout_s if terms.deadline is None else terms.deadline - now
        if left_s <= 0:
            self._misses.add(self._missed[terms.priority])
            raise DeadlineExceeded("The request's time was over before an engine was asked.")
        self._refuse_in_vain(tokens, tenant, terms, left_s)
        waiter = Waiter(tokens, tenant.name, tenant.weight, terms.priority, now)
        self._place(waiter)
        loop = asyncio.get_running_loop()
        placed = waiter.placed = loop.create_future()
        waiter.timer = loop.call_later(left_s, self._expire, waiter, left_s)
        stays = False
        try:
            self.wake()
            problem = await placed
            if problem is not None:
                raise problem
            stays = True
        finally:
            waiter.timer.cancel()
            if not stays:
                self._forsake(waiter)
            self._observe_wait[waiter.priority](self._clock() - now)

    def retry_after_s(self, tokens: int) -> int:
        """When what waits now will have been served, at the rate at which room comes free."""
        rate = self.drain.per_second
        wait_s = FIRST_RETRY_S if rate is None else math.ceil((self.line.tokens + tokens) / rate)
        return max(1, min(wait_s, self._rules.most_retry_after_s))

    def _refuse_in_vain(self, tokens: int, tenant: Tenant, terms: Terms, left_s: float) -> None:
        """Only the tenant's own requests, ahead of this in the same class, are sure to be served before it."""
        rate, flow = self.drain.per_second, self.line.flow_of(tenant.name, terms.priority)
        if flow is not None and rate is not None and self.drain.sure and flow.tokens / (rate * MARGIN) > left_s:
            raise WaitTooLong(
                f"The requests that you have waiting take longer than the {left_s:.0f} s that this one has.",
                self.retry_after_s(tokens),
            )

    def _place(self, waiter: Waiter) -> None:
        """Where the line is full, who has most in it gives way to who has less."""
        if self.line.count >= self._rules.max_waiting:
            longest = self.line.longest()
            own = self.line.flow_of(waiter.tenant, waiter.priority)
            if longest is None or len(longest.waiters) <= (len(own.waiters) if own else 0) + 1:
                raise self._queue_full(waiter)
            last = longest.last()
            self.line.remove(last)
            settle(last, self._queue_full(last))
        self.line.push(waiter)

    def _queue_full(self, waiter: Waiter) -> QueueFull:
        return QueueFull("Too many requests are waiting: try again later.", self.retry_after_s(waiter.tokens))

    def _expire(self, waiter: Waiter, waited_s: float) -> None:
        if waiter.flow is not None:
            self.line.remove(waiter)
            self._misses.add(self._missed[waiter.priority])
            problem = WaitedTooLong(
                f"No room came free within {waited_s:g} s: try again later.", self.retry_after_s(waiter.tokens)
            )
            settle(waiter, problem)
            self.wake()

    def _forsake(self, waiter: Waiter) -> None:
        """Its request has ended: it leaves the line, or gives back what it was given a moment before."""
        if waiter.flow is not None:
            self.line.remove(waiter)
            self.wake()
        elif waiter.let_in:
            self.give(waiter.tokens)


def settle(waiter: Waiter, problem: Exception | None) -> None:
    """A result, never an exception: whoever waited may have left at this very moment and never look."""
    if waiter.placed is not None and not waiter.placed.done():
        waiter.placed.set_result(problem)


class Admission:
    """One request's `async with`. Where nobody waits and it fits, nothing here awaits."""

    __slots__ = ("_cost", "_gate", "_permit", "_tenant", "_terms", "_tokens")

    def __init__(self, gate: Gate, cost: Cost, tenant: Tenant, terms: Terms) -> None:
        self._gate = gate
        self._cost = cost
        self._tenant = tenant
        self._terms = terms
        self._tokens = gate.hold_of(cost)
        self._permit: Permit | None = None

    async def __aenter__(self) -> Permit:
        if self._permit is not None:
            raise PermitMisused("a request is admitted once")
        gate = self._gate
        if not gate.line.count and gate.fits(self._tokens):
            gate.books.take(self._tokens)
        else:
            await gate.wait(self._tokens, self._tenant, self._terms)
        self._permit = issue(self._cost, gate, self._tokens)
        return self._permit

    async def __aexit__(self, *_: object) -> None:
        permit = self._permit
        if permit is not None and permit.close():
            self._gate.give(self._tokens)
