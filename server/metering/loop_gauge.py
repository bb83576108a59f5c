"""A gauge that is read when it is scraped: nothing is paid for it before, and what is not known has no sample."""

from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Read = Callable[[], float | None]


class LoopGauge(Collector):
    """Label values must be bounded by who shows them, and hidden when what they name is gone."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._named = (name, documentation)
        self._label_names = tuple(labels)
        self._reads: dict[tuple[str, ...], Read] = {}
        registry.register(self)

    def show(self, values: tuple[str, ...], read: Read) -> None:
        if len(values) != len(self._label_names):
            raise ValueError("a series has one value for each label")
        self._reads[values] = read

    def hide(self, values: tuple[str, ...]) -> None:
        self._reads.pop(values, None)

    def describe(self) -> Iterable[Metric]:
        return [GaugeMetricFamily(*self._named, labels=self._label_names)]

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(*self._named, labels=self._label_names)
        for values, read in self._reads.items():
            value = read()
            if value is not None:
                family.add_metric(values, value)
        return [family]
