"""Do two sides differ by more than chance? Permutation tests (Fisher 1935) that move blocks of neighbours.

Paired: where both sides were sent the same request under the same number and seed, blocks of pairs are swapped
between the sides. Unpaired: blocks of both sides are dealt out anew. Blocks and not single requests, since delays
come in rows (see `intervals`); with ten runs or more a side a block is a whole run, which is the surest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadtest.reporting.intervals import CONFIDENCE, WIDER, Values, block_length, resample_in_blocks

PERMUTATIONS = 2000
FEWEST_PERMUTATIONS = 500
RESAMPLES = 1000
FEWEST_RESAMPLES = 200
MOST_DRAWN = 30_000_000  # values in all of them together: large runs take fewer
# Below these, the smallest p that a test can find would not outlive being adjusted for all figures.
FEWEST_PAIRED = RUNS_AS_BLOCKS = 10  # blocks: 1024 ways to swap them
FEWEST_DEALT = 12  # blocks of both sides: 924 ways to deal them out
Figure = Callable[[Values], float]


@dataclass(frozen=True, slots=True)
class Sides:
    """Values of both sides, run by run; `paired` means that those at the same place belong together."""

    a: tuple[Values, ...]
    b: tuple[Values, ...]
    paired: bool


@dataclass(frozen=True, slots=True)
class Change:
    """`change` of the figure from A to B: B / A - 1 for a ratio, else B - A; with its 95 % interval."""

    a: float
    b: float
    change: float
    low: float
    high: float
    p_value: float | None  # None: too few blocks to tell


class NoRatio(ValueError):
    """A side's figure is 0, or could be by chance: nothing is so many times that."""


def change_of(sides: Sides, figure: Figure, as_ratio: bool, seed: int = 0) -> Change | None:
    """None where a side has no values. Raises NoRatio."""
    a, b = np.concatenate([*sides.a, []]), np.concatenate([*sides.b, []])
    if not len(a) or not len(b):
        return None
    first, second = figure(a), figure(b)
    if as_ratio and not (first > 0 and second > 0):
        raise NoRatio

    def change(one: Values, other: Values) -> float:
        base = figure(one)
        if as_ratio and not base > 0:
            raise NoRatio
        return figure(other) / base - 1 if as_ratio else figure(other) - base

    rng = np.random.default_rng(seed)
    times = max(FEWEST_RESAMPLES, min(RESAMPLES, MOST_DRAWN // (len(a) + len(b))))
    drawn = [change(*_resampled(a, b, sides.paired, rng)) for _ in range(times)]
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    p_value = _swap_test(sides, a, b, figure, rng) if sides.paired else _deal_test(sides, a, b, figure, rng)
    seen = change(a, b)
    return Change(
        first, second, seen, float(seen - WIDER * (seen - low)), float(seen + WIDER * (high - seen)), p_value
    )


def _resampled(a: Values, b: Values, paired: bool, rng: np.random.Generator) -> tuple[Values, Values]:
    places = resample_in_blocks(len(a), rng)
    return a[places], b[places if paired else resample_in_blocks(len(b), rng)]


def _swap_test(sides: Sides, a: Values, b: Values, figure: Figure, rng: np.random.Generator) -> float | None:
    blocks = _blocks_of(sides.a)
    count = int(blocks[-1]) + 1
    if count < FEWEST_PAIRED:
        return None
    seen, beyond, times = abs(figure(b) - figure(a)), 0, _permutations(len(a) + len(b))
    for _ in range(times):
        swapped = rng.integers(0, 2, count).astype(bool)[blocks]
        one, other = np.where(swapped, b, a), np.where(swapped, a, b)
        beyond += _as_far(figure(other) - figure(one), seen)
    return (1 + beyond) / (1 + times)


def _deal_test(sides: Sides, a: Values, b: Values, figure: Figure, rng: np.random.Generator) -> float | None:
    ours, theirs = _blocks_of(sides.a), _blocks_of(sides.b)
    count, total = int(ours[-1]) + 1, int(ours[-1]) + int(theirs[-1]) + 2
    if total < FEWEST_DEALT or min(count, total - count) < 2:
        return None
    values, blocks = np.concatenate([a, b]), np.concatenate([ours, theirs + count])
    seen, beyond, times = abs(figure(b) - figure(a)), 0, _permutations(len(a) + len(b))
    for _ in range(times):
        chosen = (rng.permutation(total) < count)[blocks]
        beyond += _as_far(figure(values[~chosen]) - figure(values[chosen]), seen)
    return (1 + beyond) / (1 + times)


def _permutations(values: int) -> int:
    return max(FEWEST_PERMUTATIONS, min(PERMUTATIONS, MOST_DRAWN // values))


def _as_far(difference: float, seen: float) -> bool:
    """Rounding must not tell apart what is the same."""
    return abs(difference) >= seen * (1 - 1e-9)


def _blocks_of(runs: Sequence[Values]) -> NDArray[np.int64]:
    """The number of each value's block; no block holds values of two runs."""
    length = None if len(runs) >= RUNS_AS_BLOCKS else block_length(sum(map(len, runs)))
    numbers, next_number = [], 0
    for run in runs:
        if len(run):
            found = np.zeros(len(run), dtype=np.int64) if length is None else np.arange(len(run)) // length
            numbers.append(found + next_number)
            next_number += int(found[-1]) + 1
    return np.concatenate(numbers)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted for being many (Holm 1979), in the order given: below 0.05 is wrong for any of them in 5 % of all
    comparisons at most."""
    adjusted, most = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        most = max(most, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = most
    return adjusted
