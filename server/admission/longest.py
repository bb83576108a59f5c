"""Which tenant has the most requests waiting: where the line is full, it is the one that gives way."""

from collections import OrderedDict

from server.admission.fair_queue import Flow


class Longest:
    """Flows by their length. Lengths change by one at a time, so the longest is always found at once."""

    def __init__(self) -> None:
        self._flows: dict[int, OrderedDict[Flow, None]] = {}
        self._most = 0

    def grown(self, flow: Flow) -> None:
        self._move(flow, len(flow.waiters) - 1)
        self._most = max(self._most, len(flow.waiters))

    def shrunk(self, flow: Flow) -> None:
        self._move(flow, len(flow.waiters) + 1)
        if self._most not in self._flows:
            self._most -= 1

    def find(self) -> Flow | None:
        """Of equally long ones, the one that has been so long for the longest time."""
        return next(iter(self._flows[self._most])) if self._most else None

    def _move(self, flow: Flow, length: int) -> None:
        if length:
            flows = self._flows[length]
            del flows[flow]
            if not flows:
                del self._flows[length]
        if flow.waiters:
            self._flows.setdefault(len(flow.waiters), OrderedDict())[flow] = None
