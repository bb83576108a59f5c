"""Answers vLLM's /metrics with ours: asks each source at every scrape, and leaves out what fails.

One stands in the registry of vLLM's API server. Nothing that happens in here may fail a scrape: vLLM's own metrics,
which gateways read, are in the same answer.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from server.engine.metrics.declared import METRICS, Readings, name_in_families

log = logging.getLogger(__name__)

Source = Callable[[], Readings]


class EngineCollector(Collector):
    """`sources` answer at once: they may be asked in vLLM's event loop."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._failed: set[int] = set()

    def describe(self) -> Iterable[Metric]:
        """So that nothing is read when this is registered, and nobody else has these names."""
        return [family_of(name) for name in METRICS]

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for number, source in enumerate(self._sources):
            for name, samples in self._read(number, source).items():
                family = families.setdefault(name, family_of(name))
                for values, value in samples.items():
                    family.add_metric(values, value)  # type: ignore[attr-defined]
        yield from families.values()

    def _read(self, number: int, source: Source) -> Readings:
        try:
            return source()
        except Exception as problem:  # noqa: BLE001 - vLLM's own metrics are in the same answer
            if number not in self._failed:
                self._failed.add(number)
                log.warning("Some of Fovea's metrics are missing: %s: %s", type(problem).__name__, problem)
            return {}


def family_of(name: str) -> CounterMetricFamily | GaugeMetricFamily:
    metric = METRICS[name]
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    return kind(name_in_families(name), metric.words, labels=metric.labels)
