"""The series of one route's requests for one model: found once and kept, so that a request looks for none."""

from server.metering.loop_counter import Cell, LoopCounter
from server.metering.loop_histogram import LoopHistogram, Series


class RequestSeries:
    """Each series is made when a request first needs it. `route` and `model` are labels, of which there are few."""

    __slots__ = ("_duration", "_durations", "_first", "_firsts", "_requests", "_well", "model", "route")

    def __init__(
        self, route: str, model: str, requests: LoopCounter, firsts: LoopHistogram, durations: LoopHistogram
    ) -> None:
        self.route = route
        self.model = model
        self._requests = requests
        self._firsts = firsts
        self._durations = durations
        self._first: Series | None = None
        self._duration: Series | None = None
        self._well: dict[str, Cell] = {}

    def began(self, took_s: float) -> None:
        """The first byte of its stream has come."""
        first = self._first
        if first is None:
            first = self._first = self._firsts.labels(self.route, self.model)
        first.observe(took_s)

    def ended_well(self, tenant: str, took_s: float | None) -> None:
        """`tenant` is a label; `took_s` is None where no clock was started."""
        cell = self._well.get(tenant)
        if cell is None:
            cell = self._well[tenant] = self._requests.cell((self.route, self.model, "200", "", tenant))
        cell.count += 1
        if took_s is not None:
            duration = self._duration
            if duration is None:
                duration = self._duration = self._durations.labels(self.route, self.model)
            duration.observe(took_s)

    def ended(self, status: str, code: str, tenant: str) -> None:
        """Otherwise than well."""
        self._requests.add((self.route, self.model, status, code, tenant))
