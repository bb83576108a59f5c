"""Which picture is shown next: what is new, and what comes back how often."""

import itertools
import random
from bisect import bisect
from collections.abc import Sequence
from typing import Protocol, TypeVar

from loadtest.scenario.document import Count, Format, Pictures, Ratio, Size, Tenant, Zipf

Weighted = TypeVar("Weighted", Size, Format, Count, Tenant)


def weighted(of: Sequence[Weighted], rng: random.Random) -> Weighted:
    return of[0] if len(of) == 1 else rng.choices(of, [each.weight for each in of])[0]


class Chooser(Protocol):
    def choose(self, rng: random.Random) -> int:
        """A picture's number: the same number is the same picture."""
        ...


class Catalogue:
    """Numbers from 0, the best known first, by Zipf's law."""

    def __init__(self, size: int, skew: float) -> None:
        self._cumulative = list(itertools.accumulate(rank**-skew for rank in range(1, size + 1)))

    def choose(self, rng: random.Random) -> int:
        place = rng.random() * self._cumulative[-1]
        return min(bisect(self._cumulative, place), len(self._cumulative) - 1)


class Recurring:
    """A new number, or with probability `share` one of the last `remembers` that were new."""

    def __init__(self, share: float, remembers: int) -> None:
        self._share = share
        self._remembers = remembers
        self._shown = 0

    def choose(self, rng: random.Random) -> int:
        if self._shown and rng.random() < self._share:
            return rng.randrange(max(0, self._shown - self._remembers), self._shown)
        self._shown += 1
        return self._shown - 1


def make_chooser(pictures: Pictures) -> Chooser:
    if isinstance(pictures.reuse, Zipf):
        return Catalogue(pictures.catalogue, pictures.reuse.skew)
    share = pictures.reuse.share if isinstance(pictures.reuse, Ratio) else 0
    return Recurring(share, pictures.catalogue)
