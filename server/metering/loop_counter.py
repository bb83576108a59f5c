"""A counter that the event loop alone adds to: prometheus_client's takes a lock and four calls for each."""

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from server.metering.text import head, series


class Cell:
    """One series, for who keeps it: `count` is added to in place, which costs no call."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class LoopCounter(Collector):
    """Label values must be bounded by who gives them."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._named = (name, documentation)
        self._label_names = tuple(labels)
        self._cells: dict[tuple[str, ...], Cell] = {}
        self._series: dict[tuple[str, ...], str] = {}
        registry.register(self)

    def add(self, values: tuple[str, ...], count: int = 1) -> None:
        cell = self._cells.get(values)
        if cell is None:
            cell = self.cell(values)
        cell.count += count

    def cell(self, values: tuple[str, ...]) -> Cell:
        """Of the series with these labels, which is shown from now on."""
        if len(values) != len(self._label_names):
            raise ValueError("a series has one value for each label")
        return self._cells.setdefault(values, Cell())

    def text(self) -> str:
        """As `generate_latest` would write it."""
        name, known = f"{self._named[0]}_total", self._series
        lines = [head(name, "counter", self._named[1])]
        for values, cell in self._cells.items():
            worded = known.get(values)
            if worded is None:
                worded = known[values] = series(name, self._label_names, values)
            lines.append(f"{worded} {cell.count}.0\n")
        return "".join(lines)

    def describe(self) -> Iterable[Metric]:
        return [CounterMetricFamily(*self._named, labels=self._label_names)]

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(*self._named, labels=self._label_names)
        for values, cell in self._cells.items():
            family.add_metric(values, cell.count)
        return [family]
