"""Says of every metric what it is, once: the registry, the sum over workers and the operator's guide read it here.

Two kinds of instruments: prometheus_client's own, which threads may use, and cheaper ones for the event loop alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.registry import Collector

from server.metering.labels import Label
from server.metering.loop_counter import LoopCounter
from server.metering.loop_gauge import LoopGauge
from server.metering.loop_histogram import LoopHistogram

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, of use to nobody here

# How a gauge of several workers becomes one. What counts something is always added up.
Across = Literal["sum", "min", "max"]
UNITS = ("seconds", "bytes", "tokens", "pixels", "ratio")


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric. `family` is its name without a counter's `_total`; `across` is of gauges alone."""

    family: str
    type: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[Label, ...]
    buckets: tuple[float, ...] = ()
    across: Across = "sum"

    @property
    def name(self) -> str:
        return f"{self.family}_total" if self.type == "counter" else self.family

    @property
    def unit(self) -> str:
        """As the name says; empty where things are counted."""
        return next((word for word in reversed(self.family.split("_")) if word in UNITS), "")


class Declarations:
    """Makes instruments of one registry, and remembers what each is."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._instruments: list[Collector] = []
        self.all: list[Declared] = []

    def text(self) -> str:
        """What all of them say, in Prometheus' text format."""
        return "".join(map(text_of, self._instruments))

    def counter(self, name: str, text: str, *labels: Label) -> Counter:
        self.all.append(Declared(name, "counter", text, labels))
        made = Counter(name, text, names(labels), registry=self._registry)
        self._instruments.append(made)
        return made

    def gauge(self, name: str, text: str, *labels: Label, across: Across) -> Gauge:
        self.all.append(Declared(name, "gauge", text, labels, across=across))
        made = Gauge(name, text, names(labels), registry=self._registry)
        self._instruments.append(made)
        return made

    def histogram(self, name: str, text: str, *labels: Label, buckets: Sequence[float]) -> Histogram:
        self.all.append(Declared(name, "histogram", text, labels, tuple(buckets)))
        made = Histogram(name, text, names(labels), buckets=buckets, registry=self._registry)
        self._instruments.append(made)
        return made

    def loop_counter(self, name: str, text: str, *labels: Label) -> LoopCounter:
        self.all.append(Declared(name, "counter", text, labels))
        made = LoopCounter(name, text, names(labels), self._registry)
        self._instruments.append(made)
        return made

    def loop_gauge(self, name: str, text: str, *labels: Label, across: Across) -> LoopGauge:
        self.all.append(Declared(name, "gauge", text, labels, across=across))
        made = LoopGauge(name, text, names(labels), self._registry)
        self._instruments.append(made)
        return made

    def loop_histogram(self, name: str, text: str, *labels: Label, buckets: Sequence[float]) -> LoopHistogram:
        self.all.append(Declared(name, "histogram", text, labels, tuple(buckets)))
        made = LoopHistogram(name, text, names(labels), buckets, self._registry)
        self._instruments.append(made)
        return made


def text_of(instrument: Collector) -> str:
    if isinstance(instrument, LoopCounter | LoopGauge | LoopHistogram):
        return instrument.text()
    return generate_latest(instrument).decode()


def names(labels: Sequence[Label]) -> list[str]:
    return [label.name for label in labels]
