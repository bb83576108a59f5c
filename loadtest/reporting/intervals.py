"""How sure a figure of a run is: percentiles and means with 95 % intervals.

Requests of one run are not independent: a queue that builds up delays one after another. So the bootstrap draws
blocks of neighbours (circular block bootstrap, Politis and Romano 1992), about ten to a run, as simulations do with
their batches (Schmeiser 1982 has ten to thirty), and its intervals are widened as Student's t asks for of ten: a
queue that fits into a tenth of the run does little harm. Drawing single requests would make intervals too narrow.
Percentiles' are never narrower than order statistics make them, of independent requests (David and Nagaraja 2003).
What no interval of one run shows is how far a second run would differ.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
Z = 1.959963984540054  # of the normal distribution, for 95 %
BLOCKS = 10
# Student's t of 9 degrees over the normal distribution's 97.5 %, and what is lost by drawing from ten blocks.
WIDER = 2.2621571628 / Z * math.sqrt(BLOCKS / (BLOCKS - 1))
MOST_ALIKE = 0.5
RESAMPLES = 1000
MOST_DRAWN = 30_000_000  # values in all resamples together: large runs take fewer of them
FEWEST_RESAMPLES = 200
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


def percentile(values: Sequence[float] | Values, share: float) -> float:
    """Nearest-rank percentile; `share` within 0..1. Raises ValueError on no values."""
    if not len(values):
        raise ValueError("no values")
    place = rank(len(values), share)
    return float(np.partition(np.asarray(values, dtype=np.float64), place)[place])


def rank(count: int, share: float) -> int:
    """The place of a nearest-rank percentile among `count` ordered values, from 0."""
    return max(0, math.ceil(round(share * count, 6)) - 1)


def block_length(count: int) -> int:
    """A tenth of them; of few, somewhat more."""
    return max(1, math.floor(max(math.pow(count, 1 / 3), count / BLOCKS)))


def resample_in_blocks(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Places of `count` values, drawn as blocks of neighbours; the last value's neighbour is the first."""
    length = block_length(count)
    starts = rng.integers(0, count, math.ceil(count / length))
    return ((starts[:, None] + np.arange(length)) % count).ravel()[:count]


def in_long_rows(values: Sequence[float]) -> bool:
    """Whether blocks of neighbours are like the next ones (their lag-1 autocorrelation; by chance in about 2 % of
    runs): delays come in longer rows than a block, and every interval is too narrow."""
    length = block_length(len(values))
    if len(values) < 2 * BLOCKS:
        return False
    whole = np.asarray(values[: len(values) // length * length], dtype=np.float64)
    means = whole.reshape(-1, length).mean(axis=1)
    apart = means - means.mean()
    square = float(apart @ apart)
    return square > 0 and float(apart[1:] @ apart[:-1]) > MOST_ALIKE * square


def bootstrap(values: Values, figure: Callable[[Values], Values], seed: int = 0) -> tuple[Values, Values]:
    """Lower and upper ends of the intervals of `figure`'s values (one or several), none below the least value."""
    rng = np.random.default_rng(seed)
    resamples = max(FEWEST_RESAMPLES, min(RESAMPLES, MOST_DRAWN // len(values)))
    drawn = np.array([figure(values[resample_in_blocks(len(values), rng)]) for _ in range(resamples)])
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    value = figure(values)
    return np.maximum(value - WIDER * (value - low), values.min()), value + WIDER * (high - value)


def estimate_percentiles(values: Sequence[float], shares: Sequence[float]) -> list[Estimate]:
    """In the order of `shares`. Raises ValueError on no values."""
    all_values = np.asarray(values, dtype=np.float64)

    places = [rank(len(all_values), share) for share in shares]

    def figure(drawn: Values) -> Values:
        return np.partition(drawn, places)[places]

    if not len(all_values):
        raise ValueError("no values")
    low, high = bootstrap(all_values, figure)
    under, over = order_statistics(all_values, shares)
    ends = zip(figure(all_values), np.minimum(low, under), np.maximum(high, over), strict=True)
    return [Estimate(float(value), float(least), float(most)) for value, least, most in ends]


def order_statistics(values: Values, shares: Sequence[float]) -> tuple[Values, Values]:
    """The values between which percentiles of independent ones lie; the extremes where there are too few."""
    count = len(values)
    spread = [Z * math.sqrt(count * share * (1 - share)) for share in shares]
    under = [max(0, math.floor(count * share - each) - 1) for share, each in zip(shares, spread, strict=True)]
    over = [min(count - 1, math.ceil(count * share + each)) for share, each in zip(shares, spread, strict=True)]
    ordered = np.partition(values, [*under, *over])
    return ordered[under], ordered[over]


def estimate_mean(values: Sequence[float]) -> Estimate:
    """Raises ValueError on no values."""
    if not len(values):
        raise ValueError("no values")
    all_values = np.asarray(values, dtype=np.float64)
    low, high = bootstrap(all_values, lambda drawn: np.array([drawn.mean()]))
    return Estimate(float(all_values.mean()), float(low[0]), float(min(high[0], all_values.max())))


def wilson(hits: int, asked: int) -> tuple[float, float]:
    """95 % Wilson score interval of a share (Wilson 1927)."""
    if not asked:
        return 0.0, 1.0
    share, square = hits / asked, Z * Z
    centre = share + square / (2 * asked)
    half = Z * math.sqrt(share * (1 - share) / asked + square / (4 * asked * asked))
    low, high = (centre - half) / (1 + square / asked), (centre + half) / (1 + square / asked)
    return 0.0 if not hits else low, 1.0 if hits == asked else high


def estimate_share(right: Sequence[bool]) -> Estimate:
    """A share of requests: the wider of Wilson's interval, which stays honest at 0 and 100 %, and the block
    bootstrap's, which knows that failures come in rows."""
    hits = sum(right)
    low, high = wilson(hits, len(right))
    if not right:
        return Estimate(0.0, low, high)
    drawn = estimate_mean([float(one) for one in right])
    return Estimate(hits / len(right), min(low, drawn.low), max(high, drawn.high))
