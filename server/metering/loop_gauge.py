"""A gauge that is read when it is scraped: nothing is paid for it before, and what is not known has no sample."""

from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from server.metering.text import head, series

Read = Callable[[], float | None]


class LoopGauge(Collector):
    """Label values must be bounded by who shows them, and hidden when what they name is gone."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._named = (name, documentation)
        self._label_names = tuple(labels)
        self._reads: dict[tuple[str, ...], tuple[Read, str]] = {}
        registry.register(self)

    def show(self, values: tuple[str, ...], read: Read) -> None:
        if len(values) != len(self._label_names):
            raise ValueError("a series has one value for each label")
        self._reads[values] = read, series(self._named[0], self._label_names, values)

    def hide(self, values: tuple[str, ...]) -> None:
        self._reads.pop(values, None)

    def text(self) -> str:
        """As `generate_latest` would write it."""
        lines = [head(self._named[0], "gauge", self._named[1])]
        for read, worded in self._reads.values():
            value = read()
            if value is not None:
                lines.append(f"{worded} {floatToGoString(value)}\n")  # type: ignore[no-untyped-call]
        return "".join(lines)

    def describe(self) -> Iterable[Metric]:
        return [GaugeMetricFamily(*self._named, labels=self._label_names)]

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(*self._named, labels=self._label_names)
        for values, (read, _) in self._reads.items():
            value = read()
            if value is not None:
                family.add_metric(values, value)
        return [family]
