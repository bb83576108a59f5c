"""A counter that the event loop alone adds to: prometheus_client's takes a lock and four calls for each."""

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector


class LoopCounter(Collector):
    """Label values must be bounded by who gives them."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._named = (name, documentation)
        self._label_names = tuple(labels)
        self._values: dict[tuple[str, ...], int] = {}
        registry.register(self)

    def add(self, values: tuple[str, ...], count: int = 1) -> None:
        known = self._values
        if values in known:
            known[values] += count
        elif len(values) == len(self._label_names):
            known[values] = count
        else:
            raise ValueError("a series has one value for each label")

    def describe(self) -> Iterable[Metric]:
        return [CounterMetricFamily(*self._named, labels=self._label_names)]

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(*self._named, labels=self._label_names)
        for values, count in self._values.items():
            family.add_metric(values, count)
        return [family]
