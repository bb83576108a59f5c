"""Who is next among those that wait in one priority class: start-time fair queueing by cost among tenants.

Goyal, Vin and Cheng (1996): each tenant's first request has a start tag, the least is served, and serving it moves
the tenant's tag on by cost / weight. Virtual time moves on with the work that is done, as in WF2Q+, and not with
the tags alone: new tenants, however many come, cannot then overtake for ever one that has been served before.
Every step costs O(log tenants) at most, however many requests wait.
"""

import asyncio
from collections import OrderedDict
from heapq import heapify, heappop, heappush, heapreplace

from server.domain import Priority

# Tenants of which nobody waits, but which have had more than their share: a later request of theirs is charged it.
MOST_INDEBTED = 1024


class Waiter:
    """One request in the line. `tokens` is what it will hold; `since` is a time of the gate's clock."""

    __slots__ = ("flow", "let_in", "placed", "priority", "since", "tenant", "timer", "tokens", "weight")

    def __init__(self, tokens: int, tenant: str, weight: float, priority: Priority, since: float) -> None:
        self.tokens = tokens
        self.tenant = tenant
        self.weight = weight
        self.priority: Priority = priority
        self.since = since
        self.flow: Flow | None = None  # while it waits
        self.let_in = False
        self.placed: asyncio.Future[Exception | None] | None = None
        self.timer: asyncio.TimerHandle | None = None


class Flow:
    """What waits of one tenant in one class, in the order that it came. `start` is the tag of the first."""

    __slots__ = ("listed", "start", "tenant", "tokens", "waiters", "weight")

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.waiters: OrderedDict[Waiter, None] = OrderedDict()
        self.start = 0.0
        self.weight = 1.0
        self.tokens = 0
        self.listed = False

    def first(self) -> Waiter:
        return next(iter(self.waiters))

    def last(self) -> Waiter:
        return next(reversed(self.waiters))


class FairQueue:
    """Forgets everything whenever nobody waits: tags never grow without end, and idle tenants leave nothing."""

    def __init__(self) -> None:
        self.count = 0
        self._active: dict[str, Flow] = {}
        self._indebted: OrderedDict[str, Flow] = OrderedDict()
        # A tag that stands here is the flow's own or an older, smaller one; flows that have emptied may stand here.
        self._heap: list[tuple[float, int, Flow]] = []
        self._turn = 0
        self._now = 0.0
        self._weights = 0.0

    def push(self, waiter: Waiter) -> Flow:
        flow = self._active.get(waiter.tenant)
        if flow is None:
            flow = self._indebted.pop(waiter.tenant, None) or Flow(waiter.tenant)
            flow.start = max(flow.start, self._now)
            flow.weight = waiter.weight
            self._weights += flow.weight
            self._active[flow.tenant] = flow
            if not flow.listed:
                self._list(flow)
        flow.waiters[waiter] = None
        flow.tokens += waiter.tokens
        waiter.flow = flow
        self.count += 1
        return flow

    def flow_of(self, tenant: str) -> Flow | None:
        return self._active.get(tenant)

    def remove(self, waiter: Waiter) -> None:
        """It has left: nobody is charged."""
        flow = waiter.flow
        assert flow is not None
        waiter.flow = None
        del flow.waiters[waiter]
        flow.tokens -= waiter.tokens
        self.count -= 1
        if not flow.waiters:
            self._rest(flow)

    def first(self) -> Waiter | None:
        """Who is served next."""
        while self._heap:
            start, _, flow = self._heap[0]
            if not flow.waiters:
                heappop(self._heap)
                flow.listed = False
            elif start < flow.start:
                heapreplace(self._heap, (flow.start, self._next_turn(), flow))
            else:
                return flow.first()
        return None

    def pop(self) -> Waiter:
        """Serve the first, and charge its tenant."""
        waiter = self.first()
        assert waiter is not None
        flow = waiter.flow
        assert flow is not None
        self._now = max(self._now + waiter.tokens / self._weights, flow.start)
        flow.start += waiter.tokens / waiter.weight
        self.remove(waiter)
        return waiter

    def _list(self, flow: Flow) -> None:
        heappush(self._heap, (flow.start, self._next_turn(), flow))
        flow.listed = True

    def _next_turn(self) -> int:
        """Of equal tags, the one that has stood there for longest goes first."""
        self._turn += 1
        return self._turn

    def _rest(self, flow: Flow) -> None:
        """Nobody of this tenant waits any more."""
        del self._active[flow.tenant]
        if not self.count:
            self._forget()
            return
        self._weights -= flow.weight
        if flow.start > self._now:
            self._indebted[flow.tenant] = flow
            if len(self._indebted) > MOST_INDEBTED:
                self._indebted.popitem(last=False)
        while self._indebted and next(iter(self._indebted.values())).start <= self._now:
            self._indebted.popitem(last=False)
        if len(self._heap) > 2 * len(self._active) + 64:
            self._tidy()

    def _tidy(self) -> None:
        """Leave out what has emptied. As it halves the heap, its cost is shared by as many requests that left."""
        for _, _, flow in self._heap:
            flow.listed = False
        self._heap = [(flow.start, self._next_turn(), flow) for flow in self._active.values()]
        heapify(self._heap)
        for flow in self._active.values():
            flow.listed = True

    def _forget(self) -> None:
        self._heap.clear()
        self._indebted.clear()
        self._now = self._weights = 0.0
