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

    @property
    def across_workers(self) -> Mapping[str, Across]:
        """How the gauges of several workers become one, by their names."""
        return {each.family: each.across for each in self.declared if each.type == "gauge"}

    def count_tokens(self, model: str, prompt: int, completion: int) -> None:
        label = self.models.of(model)
        self.tokens.add((label, "prompt"), max(0, prompt))
        self.tokens.add((label, "completion"), max(0, completion))

    def text(self) -> str:
        """In Prometheus' text format, as `generate_latest` of the registry would write it."""
        return self._declare.text()

    async def exposition(self) -> bytes:
        return self.text().encode()
