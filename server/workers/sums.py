"""Adds up the metrics of several workers, so that one scrape of any of them shows the whole gateway.

They travel as Prometheus' text: who serves writes it quickly, and the supervisor, which serves nobody, reads it.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.utils import floatToGoString

from server.metering.declaring import Across
from server.metering.label_classes import LabelClasses

FOLD: Mapping[Across, Callable[[float, float], float]] = {"sum": lambda one, two: one + two, "min": min, "max": max}
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
# Series whose labels have been looked at; more than several workers have.
MOST_KNOWN = 100_000


@dataclass(slots=True)
class Family:
    """What stands before its series (HELP and TYPE), and their values by their names and labels as written."""

    head: str
    series: dict[str, float] = field(default_factory=dict)


# By the name that its TYPE line has.
Families = dict[str, Family]


def read_families(text: str) -> Families:
    """Of what a worker tells: HELP, TYPE and then its series, family by family."""
    found: Families = {}
    family, about = Family(""), ""
    for line in text.split("\n"):
        if line.startswith("# HELP "):
            about = line
        elif line.startswith("# TYPE "):
            family = found[line.split(" ", 3)[2]] = Family(f"{about}\n{line}\n")
        elif line:
            series, _, value = line.rpartition(" ")
            family.series[series] = float(value)
    return found


def write_families(families: Families) -> str:
    lines = []
    for family in families.values():
        lines.append(family.head)
        lines += [f"{series} {floatToGoString(value)}\n" for series, value in family.series.items()]  # type: ignore[no-untyped-call]
    return "".join(lines)


class Relabelling:
    """Puts the labels that `classes` names through these.

    Each worker has first ones of its own, and all workers there ever were must not have more than one has. As a
    label's class never changes, no sum ever falls.
    """

    def __init__(self, classes: Mapping[str, LabelClasses]) -> None:
        self._classes = classes
        self._known: dict[str, str] = {}

    def of(self, series: str) -> str:
        known = self._known.get(series)
        if known is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            known = self._known[series] = LABEL.sub(self._relabel, series)
        return known

    def _relabel(self, label: re.Match[str]) -> str:
        classes = self._classes.get(label[1])
        return label[0] if classes is None else f'{label[1]}="{classes.of(label[2])}"'


def merge(parts: Iterable[Families], gauges: Mapping[str, Across], relabelling: Relabelling) -> Families:
    """One of many; families that `gauges` does not name are added up. Families and series keep their order."""
    merged: Families = {}
    for part in parts:
        for name, family in part.items():
            fold = FOLD[gauges.get(name, "sum")]
            known = merged.setdefault(name, Family(family.head)).series
            for told, value in family.series.items():
                series = relabelling.of(told)
                known[series] = fold(known[series], value) if series in known else value
    return merged


def only_counts(families: Families, gauges: Mapping[str, Across]) -> Families:
    """What stays true of a worker that is gone."""
    return {name: each for name, each in families.items() if name not in gauges}
