"""Who is next among those that wait in one priority class: start-time fair queueing by cost among tenants.

Goyal, Vin and Cheng (1996): each tenant's first request has a start tag, the least is served, and serving it moves
the tenant's tag on by cost / weight. Virtual time moves on with the work that is done, as in WF2Q+, and not with
the tags alone: new tenants, however many come, cannot then overtake for ever one that has been served before, and a
tenant of which nobody waits can be forgotten: when it comes again, virtual time has passed its tag, or will soon.
Every step costs O(log tenants) at most, however many requests wait.
"""

import asyncio
from collections import OrderedDict
from heapq import heapify, heappop, heappush, heapreplace

from server.domain import Priority


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

    __slots__ = ("start", "tenant", "tokens", "waiters", "weight")

    def __init__(self, tenant: str, start: float, weight: float) -> None:
        self.tenant = tenant
        self.start = start
        self.weight = weight
        self.waiters: OrderedDict[Waiter, None] = OrderedDict()
        self.tokens = 0

    def first(self) -> Waiter:
        return next(iter(self.waiters))

    def last(self) -> Waiter:
        return next(reversed(self.waiters))


class FairQueue:
    """Forgets everything whenever nobody waits: tags never grow without end, and idle tenants leave nothing."""

    def __init__(self) -> None:
        self.count = 0
        self._active: dict[str, Flow] = {}
        # A tag that stands here is the flow's own or an older, smaller one; flows that have emptied may stand here.
        self._heap: list[tuple[float, int, Flow]] = []
        self._turn = 0
        self._now = 0.0
        self._weights = 0.0

    def push(self, waiter: Waiter) -> Flow:
        flow = self._active.get(waiter.tenant)
        if flow is None:
            flow = self._active[waiter.tenant] = Flow(waiter.tenant, self._now, waiter.weight)
            self._weights += flow.weight
            heappush(self._heap, (flow.start, self._next_turn(), flow))
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
        if len(self._heap) > 2 * len(self._active) + 64:
            self._tidy()

    def _tidy(self) -> None:
        """Leave out what has emptied. As it halves the heap, its cost is shared by as many requests that left."""
        self._heap = [(flow.start, self._next_turn(), flow) for flow in self._active.values()]
        heapify(self._heap)

    def _forget(self) -> None:
        self._heap.clear()
        self._now = self._weights = 0.0
