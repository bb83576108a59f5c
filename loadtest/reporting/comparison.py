"""Two sides of a comparison, each a run or several: which figures differ, by how much, and whether by chance."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadtest.records import RUN_FILE, RecordsError, RequestRecord, Run, read_run
from loadtest.reporting.intervals import Values, in_long_rows, percentile
from loadtest.reporting.latencies import counted, e2e_ms, itl_ms, needed, ttft_ms
from loadtest.reporting.making import SLICES, counted_s, missed_by, slo_of
from loadtest.reporting.significance import Change, Figure, NoRatio, Sides, change_of, holm

SIGNIFICANT = 0.05
ENOUGH_PAIRS = 0.8  # of the smaller side's requests
Value = Callable[[RequestRecord], float | None]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `p_value` is adjusted for all rows of the comparison."""

    figure: str
    unit: str
    less_is_better: bool
    paired: bool
    as_ratio: bool
    change: Change
    p_value: float | None

    @property
    def verdict(self) -> str:
        """better | worse | no difference shown | too few requests"""
        if self.p_value is None:
            return "too few requests"
        if self.p_value >= SIGNIFICANT:
            return "no difference shown"
        return "better" if (self.change.change < 0) == self.less_is_better else "worse"


@dataclass(frozen=True, slots=True)
class Comparison:
    a: str
    b: str
    runs: tuple[int, int]
    paired: bool
    rows: tuple[Row, ...]
    warnings: tuple[str, ...]


def read_side(folder: Path) -> list[Run]:
    """A run's folder, or a folder of such folders. Raises RecordsError."""
    if (folder / RUN_FILE).exists():
        return [read_run(folder)]
    inside = sorted(path.parent for path in folder.glob(f"*/{RUN_FILE}"))
    if not inside:
        raise RecordsError(f"{folder} holds no {RUN_FILE}, nor does any folder in it.")
    return [read_run(path) for path in inside]


def compare(a: Sequence[Run], b: Sequence[Run], names: tuple[str, str]) -> Comparison:
    a, b = sorted(a, key=lambda run: run.info.seed), sorted(b, key=lambda run: run.info.seed)
    paired = are_pairs(a, b)
    left_out: list[str] = []
    unsure = list(_rows(a, b, paired, left_out))
    known = [row.p_value for row in unsure if row.p_value is not None]
    adjusted = iter(holm(known))
    rows = tuple(row if row.p_value is None else _with_p(row, next(adjusted)) for row in unsure)
    return Comparison(*names, (len(a), len(b)), paired, rows, (*_warnings(a, b, paired), *_of_left_out(left_out)))


def are_pairs(a: Sequence[Run], b: Sequence[Run]) -> bool:
    """The same scenario and seeds, once each: the same requests under the same numbers."""
    seeds = [run.info.seed for run in a]
    if seeds != [run.info.seed for run in b] or len(set(seeds)) < len(seeds):
        return False
    if {run.info.scenario_text for run in a} != {run.info.scenario_text for run in b}:
        return False
    both = [({one.number for one in counted(x)}, {one.number for one in counted(y)})
            for x, y in zip(a, b, strict=True)]  # fmt: skip
    return all(len(ours & theirs) >= ENOUGH_PAIRS * min(len(ours), len(theirs)) for ours, theirs in both)


def _rows(a: Sequence[Run], b: Sequence[Run], paired: bool, left_out: list[str]) -> Iterator[Row]:
    def row(name: str, unit: str, less: bool, sides: Sides, figure: Figure, as_ratio: bool) -> Iterator[Row]:
        try:
            found = change_of(sides, figure, as_ratio)
        except NoRatio:
            left_out.append(name)
        else:
            if found is not None:
                yield Row(name, unit, less, sides.paired, as_ratio, found, found.p_value)

    for name, value, typical, figure in (
        ("ttft", ttft_ms, "geomean", _geometric_mean),
        ("itl", itl_ms, "mean", _mean),  # chunks that come together have none: no geometric mean of that
        ("e2e", e2e_ms, "geomean", _geometric_mean),
    ):
        sides = _sides(a, b, _of_answered(value), paired)
        yield from row(f"{name}_{typical}", "ms", True, sides, figure, True)
        if min(sum(map(len, sides.a)), sum(map(len, sides.b))) >= needed(0.95):
            yield from row(f"{name}_p95", "ms", True, sides, lambda values: percentile(values, 0.95), True)
    sides = _sides(a, b, lambda one: float(one.answered), paired)
    yield from row("answered_share", "", False, sides, _mean, False)
    slo = slo_of(a[0].info)
    if slo and all(slo_of(run.info) == slo for run in (*a, *b)):
        sides = _sides(a, b, lambda one: float(not missed_by(one, slo)), paired)
        yield from row("goodput_share", "", False, sides, _mean, False)
    for name, amount in (("requests", lambda one: 1.0), ("output_tokens", lambda one: float(one.output_tokens))):
        sides = Sides(tuple(_slices(run, amount) for run in a), tuple(_slices(run, amount) for run in b), False)
        yield from row(f"{name}_per_s", "1/s", False, sides, _mean, True)


def _with_p(row: Row, p_value: float) -> Row:
    return Row(row.figure, row.unit, row.less_is_better, row.paired, row.as_ratio, row.change, p_value)


def _of_answered(value: Value) -> Value:
    return lambda one: value(one) if one.answered else None


def _sides(a: Sequence[Run], b: Sequence[Run], value: Value, paired: bool) -> Sides:
    ours, theirs = [_by_number(run, value) for run in a], [_by_number(run, value) for run in b]
    if paired:
        shared = [sorted(x.keys() & y.keys()) for x, y in zip(ours, theirs, strict=True)]
        return Sides(
            tuple(_array([x[number] for number in numbers]) for x, numbers in zip(ours, shared, strict=True)),
            tuple(_array([y[number] for number in numbers]) for y, numbers in zip(theirs, shared, strict=True)),
            True,
        )
    return Sides(
        tuple(_array(list(x.values())) for x in ours), tuple(_array(list(y.values())) for y in theirs), False
    )


def _by_number(run: Run, value: Value) -> dict[int, float]:
    return {one.number: found for one in counted(run) if (found := value(one)) is not None}


def _slices(run: Run, amount: Callable[[RequestRecord], float]) -> Values:
    """Amounts of answered requests a second, in slices of the counted time."""
    width = counted_s(run.info) / SLICES
    slices = np.zeros(SLICES)
    for one in counted(run):
        if one.answered:
            place = int((one.ended_s - run.info.counts_from_s) / width)
            slices[max(0, min(SLICES - 1, place))] += amount(one) / width
    return slices


def _array(values: Sequence[float]) -> Values:
    return np.asarray(values, dtype=np.float64)


def _mean(values: Values) -> float:
    return float(values.mean())


def _geometric_mean(values: Values) -> float:
    """Of what is never 0: a clock's resolution below 1 microsecond is none."""
    return float(np.exp(np.log(np.maximum(values, 1e-3)).mean()))


def _of_left_out(figures: Sequence[str]) -> Iterator[str]:
    if figures:
        yield f"Too little was answered, on one side at least, to compare {' and '.join(figures)}."


def _warnings(a: Sequence[Run], b: Sequence[Run], paired: bool) -> Iterator[str]:
    if {run.info.scenario_text for run in a} != {run.info.scenario_text for run in b}:
        yield "The two are of different scenarios, or of one with other settings, which may be all the difference."
    if not paired:
        yield "Not the same scenario and seeds: nothing is compared in pairs, and small differences do not show."
    if any(x.info.machine != y.info.machine for x in a for y in b):
        yield "The two were driven from different machines or by other versions, which may be all the difference."
    if any(in_long_rows([e2e_ms(one) for one in counted(run) if one.answered]) for run in (*a, *b)):
        yield (
            "In a run, neighbours' delays are alike for longer than its tenth: differences by chance look real. "
            "Let runs be longer, or ask less."
        )
    if min(len(a), len(b)) == 1:
        yield (
            "One run a side: what makes runs differ as a whole (a warm cache, a busy machine) looks here like a "
            "difference of the two. Repeat both with several seeds, in turn, and compare the folders."
        )
