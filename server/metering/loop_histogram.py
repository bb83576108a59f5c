"""A histogram that the event loop alone observes: prometheus_client's takes a lock and compares with every bucket,
which is a tenth of all that a small request may cost."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from server.metering.text import head
from server.metering.text import series as word


class Series:
    """One series: how many values fell into each bucket, not counting those of smaller ones."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


class LoopHistogram(Collector):
    """`buckets` are upper bounds, which belong to their buckets. Label values must be bounded by who gives them."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._named = (name, documentation)
        self._label_names = tuple(labels)
        self._bounds = tuple(float(bound) for bound in buckets)
        self._series: dict[tuple[str, ...], Series] = {}
        self._worded: dict[tuple[str, ...], list[str]] = {}
        registry.register(self)

    def labels(self, *values: str) -> Series:
        series = self._series.get(values)
        if series is None:
            if len(values) != len(self._label_names):
                raise ValueError("a series has one value for each label")
            series = self._series[values] = Series(self._bounds)
        return series

    def text(self) -> str:
        """As `generate_latest` would write it."""
        lines = [head(self._named[0], "histogram", self._named[1])]
        for values, series in self._series.items():
            worded = self._worded.get(values)
            if worded is None:
                worded = self._worded[values] = self._word(values)
            below = 0
            for bucket, count in zip(worded, series.counts, strict=False):
                below += count
                lines.append(f"{bucket} {below}.0\n")
            total = floatToGoString(series.sum)  # type: ignore[no-untyped-call]
            lines.append(f"{worded[-2]} {below}.0\n{worded[-1]} {total}\n")
        return "".join(lines)

    def _word(self, values: tuple[str, ...]) -> list[str]:
        """Of one series: its buckets, its count and its sum."""
        name, labels = self._named[0], self._label_names
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        buckets = [word(f"{name}_bucket", (*labels, "le"), (*values, bound)) for bound in bounds]
        return [*buckets, word(f"{name}_count", labels, values), word(f"{name}_sum", labels, values)]

    def describe(self) -> Iterable[Metric]:
        return [HistogramMetricFamily(*self._named, labels=self._label_names)]

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(*self._named, labels=self._label_names)
        worded = [*map(floatToGoString, self._bounds), "+Inf"]
        for values, series in self._series.items():
            below, buckets = 0, list[tuple[str, float]]()
            for bound, count in zip(worded, series.counts, strict=True):
                below += count
                buckets.append((bound, below))
            family.add_metric(values, buckets, series.sum)
        return [family]
