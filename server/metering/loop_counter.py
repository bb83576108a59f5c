"""A counter that the event loop alone adds to: prometheus_client's takes a lock and four calls for each."""

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from server.metering.text import head, series


class LoopCounter(Collector):
    """Label values must be bounded by who gives them."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._named = (name, documentation)
        self._label_names = tuple(labels)
        self._values: dict[tuple[str, ...], int] = {}
        self._series: dict[tuple[str, ...], str] = {}
        registry.register(self)

    def add(self, values: tuple[str, ...], count: int = 1) -> None:
        known = self._values
        if values in known:
            known[values] += count
        elif len(values) == len(self._label_names):
            known[values] = count
        else:
            raise ValueError("a series has one value for each label")

    def text(self) -> str:
        """As `generate_latest` would write it."""
        name, known = f"{self._named[0]}_total", self._series
        lines = [head(name, "counter", self._named[1])]
        for values, count in self._values.items():
            worded = known.get(values)
            if worded is None:
                worded = known[values] = series(name, self._label_names, values)
            lines.append(f"{worded} {count}.0\n")
        return "".join(lines)

    def describe(self) -> Iterable[Metric]:
        return [CounterMetricFamily(*self._named, labels=self._label_names)]

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(*self._named, labels=self._label_names)
        for values, count in self._values.items():
            family.add_metric(values, count)
        return [family]
