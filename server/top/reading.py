"""One look at /metrics, and what changed between two of them: the first stage of `fovea top`."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]
# Of one exposition: fifty engines' worth is some megabytes.
MOST_BYTES = 32 * 1024 * 1024


class UnreadableMetrics(Exception):
    """What was answered is not Prometheus' text format, or too much of it."""


@dataclass(frozen=True)
class Reading:
    """All samples at `at` (seconds of a steady clock), by name and labels."""

    at: float = 0.0
    samples: Mapping[str, Mapping[Labels, float]] = field(default_factory=dict)

    def rows(self, name: str, **labels: str) -> Iterator[tuple[dict[str, str], float]]:
        wanted = labels.items()
        for had, value in self.samples.get(name, {}).items():
            if wanted <= had:
                yield dict(had), value

    def total(self, name: str, **labels: str) -> float | None:
        """Of all that match; None: there is none."""
        values = [value for _, value in self.rows(name, **labels)]
        return sum(values) if values else None

    def values_of(self, name: str, label: str) -> list[str]:
        return sorted({row[label] for row, _ in self.rows(name) if label in row})


def parse_reading(text: bytes, at: float) -> Reading:
    """Raises UnreadableMetrics."""
    if len(text) > MOST_BYTES:
        raise UnreadableMetrics(f"more than {MOST_BYTES >> 20} MiB of metrics")
    samples: dict[str, dict[Labels, float]] = {}
    try:
        for family in text_string_to_metric_families(text.decode()):
            for sample in family.samples:
                samples.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    except ValueError as problem:  # a name, a number or an encoding that cannot be
        raise UnreadableMetrics("these are not metrics") from problem
    return Reading(at, samples)


@dataclass(frozen=True)
class Change:
    """From one reading of a process to the next. What was begun anew counts from zero, as for Prometheus."""

    before: Reading
    after: Reading

    def rate(self, name: str, **labels: str) -> float | None:
        """A second, of all that match; None: there is none, or no time between."""
        seconds = self.after.at - self.before.at
        if seconds <= 0 or self.after.total(name, **labels) is None:
            return None
        return sum(value for _, value in self.increases(name, **labels)) / seconds

    def increases(self, name: str, **labels: str) -> Iterator[tuple[dict[str, str], float]]:
        earlier = self.before.samples.get(name, {})
        for had, value in self.after.samples.get(name, {}).items():
            if labels.items() <= had:
                was = earlier.get(had, 0.0)
                yield dict(had), value - was if value >= was else value

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """How many more, by one label."""
        found: dict[str, float] = {}
        for row, more in self.increases(name, **labels):
            key = row.get(label, "")
            found[key] = found.get(key, 0.0) + more
        return found

    def quantile(self, share: float, name: str, **labels: str) -> float | None:
        """Of a histogram's observations between the two, as Prometheus' histogram_quantile has it; None: none."""
        buckets = self.by(f"{name}_bucket", "le", **labels)
        return quantile(share, sorted((float(bound), count) for bound, count in buckets.items() if bound))


def quantile(share: float, buckets: Iterable[tuple[float, float]]) -> float | None:
    """Of buckets that count up, by linear interpolation in the one where it lies; the last bound where it lies
    beyond."""
    bounds = list(buckets)
    if not bounds or bounds[-1][1] <= 0:
        return None
    wanted = share * bounds[-1][1]
    low, below = 0.0, 0.0
    for bound, count in bounds:
        if count >= wanted:
            if bound == float("inf"):
                return low
            return low + (bound - low) * (wanted - below) / (count - below) if count > below else bound
        low, below = bound, count
    return low
