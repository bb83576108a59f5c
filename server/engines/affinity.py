"""Which engine should see a picture: rendezvous hashing with bounded load.

The same key ranks the same engines in the same order, whichever gateway asks, and an engine that comes or
goes moves only its own keys. (Thaler & Ravishankar 1998; bounded loads: Mirrokni et al. 2016.)
A key is hashed once by BLAKE3; for each engine there is one multiplication more (Dietzfelbinger's multiply-shift).
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from blake3 import blake3

LOAD_BOUND = 1.25
# Two digits of CPython's integers: one bit more costs a third one in every multiplication.
HASH_HEX = 15
MASK = (1 << 4 * HASH_HEX) - 1


class Loaded(Protocol):
    """What engines are chosen by: `running` requests under way, and the `share` of a full load that it may have."""

    @property
    def seed(self) -> int: ...
    @property
    def running(self) -> int: ...
    @property
    def share(self) -> float: ...


E = TypeVar("E", bound=Loaded)


def make_seed(name: str) -> int:
    """What an engine multiplies keys by: odd, and the same in every gateway that knows the engine as `name`."""
    return int(blake3(name.encode()).hexdigest()[:HASH_HEX], 16) | 1


def home(digest: str, engines: Sequence[E]) -> E:
    """The most preferred of at least one engine, whatever its load."""
    key = int(digest[:HASH_HEX], 16)
    best, highest = engines[0], -1
    for engine in engines:
        score = key * engine.seed & MASK
        if score > highest:
            best, highest = engine, score
    return best


def spread(turn: int, engines: Sequence[E]) -> E:
    """The one of at least one engine that has the least load for its share, whatever it is asked; of those with as
    little, who comes first from `turn` on."""
    best, least = engines[0], float("inf")
    for number in range(turn, turn + len(engines)):
        engine = engines[number % len(engines)]
        load = engine.running / engine.share
        if load < least:
            best, least = engine, load
    return best


def pick(digest: str, engines: Sequence[E]) -> E:
    """The most preferred of at least one engine whose load stays within 1.25 x its share of all load.

    `digest` is BLAKE3 in hex. Idle engines are within it always, and some engine always is.
    """
    if len(engines) == 1:
        return engines[0]
    key = int(digest[:HASH_HEX], 16)
    total, shares = 1, 0.0
    for engine in engines:
        total += engine.running
        shares += engine.share
    bound = LOAD_BOUND * total / shares
    best, highest = engines[0], -1
    for engine in engines:
        score = key * engine.seed & MASK
        if score > highest and engine.running <= bound * engine.share:
            best, highest = engine, score
    return best
