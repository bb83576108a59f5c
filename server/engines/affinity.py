"""Which engine should see a picture: rendezvous hashing with bounded load.

The same key ranks the same engines in the same order, whichever gateway asks, and an engine that comes or
goes moves only its own keys. (Thaler & Ravishankar 1998; bounded loads: Mirrokni et al. 2016.)
"""

from collections.abc import Mapping

from blake3 import blake3

LOAD_BOUND = 1.25


def rank(key: str, names: list[str]) -> list[str]:
    """`names` from most to least preferred for `key`."""
    return sorted(names, key=lambda name: blake3(f"{key}\0{name}".encode()).digest(), reverse=True)


def pick(key: str, running: Mapping[str, int]) -> str:
    """The most preferred engine whose load stays within 1.25 x the mean (plus one, so that idle pools can move).

    `running` maps at least one engine to its requests under way.
    """
    bound = LOAD_BOUND * (sum(running.values()) + 1) / len(running) + 1
    ranked = rank(key, list(running))
    return next((name for name in ranked if running[name] + 1 <= bound), ranked[0])
