"""Intervals and tests for right/wrong answers: one sample, and two that answered the same questions."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binomtest, norm

CONFIDENCE = 0.95
RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Paired:
    """How two sides answered the same questions: counts of each of the four cases."""

    both: int
    only_base: int
    only_candidate: int
    neither: int

    @property
    def asked(self) -> int:
        return self.both + self.only_base + self.only_candidate + self.neither

    @property
    def base(self) -> int:
        return self.both + self.only_base

    @property
    def candidate(self) -> int:
        return self.both + self.only_candidate


def wilson(right: int, asked: int) -> tuple[float, float]:
    """95 % Wilson score interval of a share (Wilson 1927)."""
    interval = binomtest(right, asked).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar(only_base: int, only_candidate: int) -> float:
    """Two-sided exact p-value that the two differ (McNemar 1947, exact form)."""
    differing = only_base + only_candidate
    return float(binomtest(only_base, differing).pvalue) if differing else 1.0


def bootstrap_difference(paired: Paired, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of candidate minus base, questions resampled in pairs."""
    counts = np.array([paired.both, paired.only_base, paired.only_candidate, paired.neither])
    drawn = np.random.default_rng(seed).multinomial(paired.asked, counts / paired.asked, RESAMPLES)
    low, high = np.quantile((drawn[:, 2] - drawn[:, 1]) / paired.asked, [0.025, 0.975])
    return float(low), float(high)


def bootstrap_mean_difference(differences: list[float], seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean of paired differences (character errors, overlaps)."""
    rng, values = np.random.default_rng(seed), np.asarray(differences)
    means = [rng.choice(values, len(values)).mean() for _ in range(2000)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def retention(paired: Paired) -> tuple[float, float, float] | None:
    """(candidate / base, lower, upper) with the 95 % score interval for a ratio of paired shares.

    The interval of Nam and Blackwelder (2002), which unlike a bootstrap stays honest when the two never
    differed: 20 questions of perfect agreement do not show 100 % retention. None when the base got none right.
    """
    if paired.base == 0:
        return None
    ratio, z = paired.candidate / paired.base, float(norm.ppf(0.5 + CONFIDENCE / 2))
    low = 0.0
    if paired.candidate:
        low = float(brentq(lambda theta: score_statistic(paired, theta) - z, 1e-9, ratio))
    high, top = math.inf, ratio + 1.0
    while score_statistic(paired, top) > -z and top < 1e6:
        top *= 2
    if top < 1e6:
        high = float(brentq(lambda theta: score_statistic(paired, theta) + z, max(ratio, 1e-9), top))
    return ratio, low, high


def score_statistic(paired: Paired, theta: float) -> float:
    """How many standard errors `candidate - theta * base` is from 0, were `theta` the true retention."""
    gap = paired.candidate - theta * paired.base
    spread = math.sqrt(max(0.0, paired.asked * theta * sum(_restricted(paired, theta))))
    if spread > 0:
        return gap / spread
    return 0.0 if abs(gap) < 1e-12 else math.copysign(math.inf, gap)


def _restricted(paired: Paired, theta: float) -> tuple[float, float]:
    """Most likely shares (only base, only candidate) under `candidate = theta * base`."""
    n = paired.asked
    first, second = paired.candidate / n, paired.base / n
    gained, lost, neither = paired.only_candidate / n, paired.only_base / n, paired.neither / n
    root = math.sqrt(max(0.0, (first - theta**2 * second) ** 2 + 4 * theta**2 * gained * lost))
    only_candidate = (-first + theta**2 * (second + 2 * gained) + root) / (2 * theta * (theta + 1))
    return theta * only_candidate - (theta - 1) * (1 - neither), only_candidate
