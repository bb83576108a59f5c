"""Adds up the metrics of several workers, so that one scrape of any of them shows the whole gateway."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector

from server.metering.declaring import Across
from server.metering.label_classes import LabelClasses

# Of each family: a sample's name and labels, and its value. It travels as JSON.
Sample = tuple[str, list[tuple[str, str]], float]
Samples = dict[str, list[Sample]]
FOLD: Mapping[Across, Callable[[float, float], float]] = {"sum": lambda one, two: one + two, "min": min, "max": max}


def samples_of(registry: CollectorRegistry) -> Samples:
    return {
        family.name: [(each.name, list(each.labels.items()), each.value) for each in family.samples]
        for family in registry.collect()
    }


def merge(
    parts: Iterable[Samples], gauges: Mapping[str, Across], classes: Mapping[str, LabelClasses] | None = None
) -> Samples:
    """One of many; families that `gauges` does not name are added up. Samples keep their order.

    Labels that `classes` names go through these: each worker has first ones of its own, and all workers there ever
    were must not have more than one has. As a label's class never changes, no sum ever falls.
    """
    classes = classes or {}
    merged: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for part in parts:
        for family, samples in part.items():
            fold = FOLD[gauges.get(family, "sum")]
            known = merged.setdefault(family, {})
            for name, labels, value in samples:
                key = (name, tuple([(label, in_class(classes, label, text)) for label, text in labels]))
                known[key] = fold(known[key], value) if key in known else value
    return {
        family: [(name, list(labels), value) for (name, labels), value in known.items()]
        for family, known in merged.items()
    }


def in_class(classes: Mapping[str, LabelClasses], label: str, text: str) -> str:
    return classes[label].of(text) if label in classes else text


def only_counts(samples: Samples, gauges: Mapping[str, Across]) -> Samples:
    """What stays true of a worker that is gone."""
    return {family: each for family, each in samples.items() if family not in gauges}


class Merged(Collector):
    """The families of `registry`, with other samples."""

    def __init__(self, registry: CollectorRegistry, samples: Samples) -> None:
        self._registry = registry
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            whole = Metric(family.name, family.documentation, family.type, family.unit)
            for name, labels, value in self._samples.get(family.name, []):
                whole.add_sample(name, dict(labels), value)
            yield whole


def exposition_of(registry: CollectorRegistry, samples: Samples) -> bytes:
    """In Prometheus' text format."""
    whole = CollectorRegistry()
    whole.register(Merged(registry, samples))
    return generate_latest(whole)
