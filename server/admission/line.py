"""The line in front of one pool of engines: three priority classes share it 16:4:1 by cost, tenants share a class.

A class that has waited comes to weigh more: twice as much for each `ageing_s` that its next request has waited, up
to the highest class's weight.
"""

from collections.abc import Callable, Iterable
from typing import get_args

from server.admission.fair_queue import FairQueue, Flow, Waiter
from server.admission.longest import Longest
from server.domain import Priority

WEIGHTS: dict[Priority, float] = {"interactive": 16, "standard": 4, "batch": 1}
MOST_WEIGHT = max(WEIGHTS.values())
MOST_DOUBLINGS = 4  # from 1 to 16


class Lane:
    """One class. It may start at `since` + `owed` / weight, in the line's virtual time: what it was served last is
    charged at the weight that it has by then."""

    __slots__ = ("owed", "queue", "since", "weight")

    def __init__(self, weight: float) -> None:
        self.queue = FairQueue()
        self.weight = weight
        self.since = 0.0
        self.owed = 0

    def start(self, waited_s: float, ageing_s: float) -> float:
        doublings = min(waited_s / ageing_s, MOST_DOUBLINGS)
        return self.since + self.owed / min(self.weight * 2**doublings, MOST_WEIGHT)


class Line:
    """Everyone who waits. First come, first served within a tenant's requests of one class."""

    def __init__(self, ageing_s: float, clock: Callable[[], float]) -> None:
        self._lanes = {priority: Lane(WEIGHTS[priority]) for priority in get_args(Priority)}
        self._ageing_s = ageing_s
        self._clock = clock
        self._now = 0.0
        self._longest = Longest()
        self.count = 0
        self.tokens = 0

    def waiting(self, priority: Priority) -> int:
        return self._lanes[priority].queue.count

    def flow_of(self, tenant: str, priority: Priority) -> Flow | None:
        return self._lanes[priority].queue.flow_of(tenant)

    def longest(self) -> Flow | None:
        return self._longest.find()

    def push(self, waiter: Waiter) -> None:
        lane = self._lanes[waiter.priority]
        self._longest.grown(lane.queue.push(waiter))
        self.count += 1
        self.tokens += waiter.tokens

    def remove(self, waiter: Waiter) -> None:
        flow = waiter.flow
        assert flow is not None
        self._lanes[waiter.priority].queue.remove(waiter)
        self._left(waiter, flow)

    def first(self) -> Waiter | None:
        """Who is served next. The others wait until there is room for it, or the costly would wait for ever."""
        if not self.count:
            return None
        now = self._clock()
        found, least = None, 0.0
        for lane in self._lanes.values():
            waiter = lane.queue.first()
            if waiter is not None:
                start = lane.start(now - waiter.since, self._ageing_s)
                if found is None or start < least:
                    found, least = waiter, start
        return found

    def serve(self, waiter: Waiter) -> None:
        """`waiter` is the first: it leaves, and its tenant and class are charged."""
        lane, flow = self._lanes[waiter.priority], waiter.flow
        assert flow is not None
        start = lane.start(self._clock() - waiter.since, self._ageing_s)
        lane.queue.pop()
        self._now = lane.since = max(self._now, start)
        lane.owed = waiter.tokens
        self._left(waiter, flow)

    def _left(self, waiter: Waiter, flow: Flow) -> None:
        self._longest.shrunk(flow)
        self.count -= 1
        self.tokens -= waiter.tokens
        if not self.count:
            forget(self._lanes.values())
            self._now = 0.0


def forget(lanes: Iterable[Lane]) -> None:
    """Nobody waits: nobody owes."""
    for lane in lanes:
        lane.since, lane.owed = 0.0, 0
