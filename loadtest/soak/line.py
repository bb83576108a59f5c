"""How fast something grows: a line through its samples that single peaks do not bend, and how sure it is."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from loadtest.reporting.intervals import CONFIDENCE, Estimate, resample_in_blocks

RESAMPLES = 400
Values = NDArray[np.float64]


def slope_of(at_s: Values, values: Values) -> float:
    """The median of the slopes between all pairs (Theil 1950, Sen 1968), a second. 0 of fewer than two samples."""
    first, second = np.triu_indices(len(at_s), 1)
    apart = at_s[second] - at_s[first]
    known = apart != 0
    if not known.any():
        return 0.0
    return float(np.median((values[second] - values[first])[known] / apart[known]))


def grown(at_s: Sequence[float], values: Sequence[float], over_s: float) -> Estimate:
    """What the line grows by in `over_s`. Samples are not independent (what was asked a moment ago is still held),
    so the interval draws the line's residuals in blocks of neighbours and lays the line through them again."""
    times, seen = np.asarray(at_s, dtype=np.float64), np.asarray(values, dtype=np.float64)
    slope = slope_of(times, seen)
    if len(seen) < 2:
        return Estimate(0.0, -math.inf, math.inf)
    rest = seen - slope * times
    rng = np.random.default_rng(0)
    drawn = [slope_of(times, slope * times + rest[resample_in_blocks(len(rest), rng)]) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(slope * over_s, float(low) * over_s, float(high) * over_s)
