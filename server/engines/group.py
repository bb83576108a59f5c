"""Engines that are found in one way and serve alike: one of the settings' pools."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from server.engines.affinity import make_seed
from server.engines.cards import Card
from server.engines.discovery.source import Source
from server.engines.engine import Engine

NAMES = 10**9


@dataclass(slots=True)
class Group:
    """`weight` is its part of the tenants where several groups serve a model; `allow` are the only models that are
    taken from it, all where it is None. `engines` are by URL; `known` is what they serve, or served when there last
    were any.
    """

    name: str
    source: Source
    weight: float = 1
    allow: frozenset[str] | None = None
    engines: dict[str, Engine] = field(default_factory=dict)
    known: Mapping[str, Card] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        self.seed = make_seed(self.name)

    def name_of(self, url: str) -> str:
        """What callers and metrics see of an engine: its place in a list that is written down, else a hash."""
        if self.source.written is not None:
            return f"{self.name}-{self.source.written.index(url)}"
        return f"{self.name}-{number_of(url.partition('://')[2])}"

    def described(self) -> str:
        """How many engines are in which state, or that there are none."""
        states = Counter(engine.state for engine in self.engines.values())
        found = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        return f"{self.name}: {found or 'none found yet'}"

    def allowed(self, models: Mapping[str, Card]) -> dict[str, Card]:
        return {name: card for name, card in models.items() if self.allow is None or name in self.allow}

    def remember(self) -> None:
        """Keep what its engines serve in mind: a group that is empty for a while serves no fewer models."""
        served = {name: card for engine in self.engines.values() for name, card in engine.models.items()}
        if served:
            self.known = served


def number_of(address: str) -> int:
    """As Prometheus' relabeling has it (`hashmod`), so that it can give a target the name that gateways know."""
    digest = hashlib.md5(address.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[-8:], "big") % NAMES
