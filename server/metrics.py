"""Every metric of the gateway, in one class; `server/metering/` declares them by subject.

docs/operating.md has a table that is made of these declarations (`server.metrics_table`).
"""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from server.metering.admission import AdmissionMetrics
from server.metering.declaring import Across, Declarations, Declared
from server.metering.engines import EngineMetrics
from server.metering.files import FileMetrics
from server.metering.images import ImageMetrics
from server.metering.keys import KeyMetrics
from server.metering.labels import make_model_classes, make_tenant_classes
from server.metering.loop_counter import Cell
from server.metering.request_series import RequestSeries
from server.metering.requests import RequestMetrics
from server.metering.traces import TraceMetrics

SUBJECTS = (RequestMetrics, AdmissionMetrics, ImageMetrics, FileMetrics, EngineMetrics, KeyMetrics, TraceMetrics)


class Metrics(RequestMetrics, AdmissionMetrics, ImageMetrics, FileMetrics, EngineMetrics, KeyMetrics, TraceMetrics):
    """The gateway's registry. One instance a process, handed to whoever counts.

    Label values from outside go through `tenants` and `models`, which keep them few.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        declare = Declarations(self.registry)
        for subject in SUBJECTS:
            subject.__init__(self, declare)
        self._declare = declare
        self.declared: tuple[Declared, ...] = tuple(declare.all)
        self.tenants = make_tenant_classes()
        self.models = make_model_classes()
        self._series: dict[tuple[str, str], RequestSeries] = {}
        self._token_cells: dict[str, tuple[Cell, Cell]] = {}

    @property
    def across_workers(self) -> Mapping[str, Across]:
        """How the gauges of several workers become one, by their names."""
        return {each.family: each.across for each in self.declared if each.type == "gauge"}

    def series_of(self, route: str, model: str) -> RequestSeries:
        """`model` is one that is served, or empty."""
        known = self._series.get((route, model))
        return self._find_series(route, model) if known is None else known

    def _find_series(self, route: str, model: str) -> RequestSeries:
        """Kept by its label: what is in a class comes here every time."""
        label = self.models.of(model)
        found = self._series.get((route, label))
        if found is None:
            made = RequestSeries(route, label, self.requests, self.first_token, self.duration)
            found = self._series[route, label] = made
        return found

    def count_tokens(self, model: str, prompt: int, completion: int) -> None:
        cells = self._token_cells.get(model)
        if cells is None:
            label = self.models.of(model)
            made = self.tokens.cell((label, "prompt")), self.tokens.cell((label, "completion"))
            cells = self._token_cells.setdefault(label, made)
        cells[0].count += max(0, prompt)
        cells[1].count += max(0, completion)

    def text(self) -> str:
        """In Prometheus' text format, as `generate_latest` of the registry would write it."""
        return self._declare.text()

    async def exposition(self) -> bytes:
        return self.text().encode()
