"""Who serves which model now: made anew whenever an engine comes, goes or changes, and only read by requests."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import log

from blake3 import blake3

from server.domain import Affinity
from server.engines.affinity import HASH_HEX, MASK, home, pick, spread
from server.engines.engine import Engine
from server.engines.group import Group


@dataclass(frozen=True, slots=True)
class Lane:
    """The engines of one group that can answer for one model; at least one. `members` are all that serve it, ready
    or not."""

    weight: float
    seed: int
    engines: tuple[Engine, ...]
    members: tuple[Engine, ...]


class Lanes:
    """Every engine in a lane is ready and serves its model; aliases are names for what others serve. Without
    `affinity` pictures belong to no engine: who has the least load is chosen."""

    def __init__(self, groups: Iterable[Group], aliases: Mapping[str, str], affinity: bool = True) -> None:
        self._groups = tuple(groups)
        self._aliases = aliases
        self._affinity = affinity
        self._turn = 0
        self._lanes: dict[str, tuple[Lane, ...]] = {}
        self.models: dict[str, int | None] = {}
        self.bases: dict[str, str] = {}
        self.most_tokens: dict[str, int | None] = {}

    def remake(self) -> None:
        """`models` (with aliases) are those that are served, or were when their group last had engines;
        `most_tokens` (without) is what one request for each can have, on the largest engine, ready or not."""
        lanes: dict[str, list[Lane]] = {}
        serving: dict[str, list[Engine]] = {}
        self.models, self.bases = {}, {}
        for group in self._groups:
            group.remember()
            for name, card in group.known.items():
                self.models[name], self.bases[name] = card.context, card.base
                engines = [each for each in group.engines.values() if name in each.models]
                serving.setdefault(name, []).extend(engines)
                ready = tuple(each for each in engines if each.ready)
                if ready:
                    lanes.setdefault(name, []).append(Lane(group.weight, group.seed, ready, tuple(engines)))
        self._lanes = {name: tuple(each) for name, each in lanes.items()}
        self.most_tokens = {name: most_tokens(engines) for name, engines in serving.items()}
        for alias, name in self._aliases.items():
            if name in self.models:
                self.models[alias], self.bases[alias] = self.models[name], self.bases[name]

    def real_name(self, model: str) -> str:
        return self._aliases.get(model, model)

    def peers(self, engine: Engine) -> list[Engine]:
        """The engines of its group."""
        return next(([*g.engines.values()] for g in self._groups if engine in g.engines.values()), [])

    def choose(self, model: str, tenant: str, digest: str, tried: frozenset[Engine] = frozenset()) -> Engine | None:
        """The tenant says which group, the picture which engine of it; None: no engine is left."""
        lanes = self._lanes.get(model, ())
        if tried:
            lanes = tuple(without(lanes, tried))
        if not lanes:
            return None
        engines = lane_of(model, tenant, lanes).engines
        if self._affinity:
            return pick(digest, engines)
        self._turn += 1
        return spread(self._turn, engines)

    def affinity(self, model: str, tenant: str, digest: str, chosen: Engine) -> Affinity:
        """Whether the picture went to the engine that it belongs to, among all of its group, ready or not."""
        members = lane_of(model, tenant, self._lanes[model]).members
        if len(members) == 1 or not self._affinity:
            return "none"
        return "home" if home(digest, members) is chosen else "spilled"


def most_tokens(engines: Iterable[Engine]) -> int | None:
    """None where one of them does not tell: it may be the largest."""
    told = [engine.most_tokens for engine in engines]
    known = [tokens for tokens in told if tokens is not None]
    return max(known) if known and len(known) == len(told) else None


def without(lanes: Iterable[Lane], tried: frozenset[Engine]) -> Iterable[Lane]:
    for lane in lanes:
        left = tuple(engine for engine in lane.engines if engine not in tried)
        if left:
            yield Lane(lane.weight, lane.seed, left, lane.members)


def lane_of(model: str, tenant: str, lanes: tuple[Lane, ...]) -> Lane:
    return lanes[0] if len(lanes) == 1 else pick_lane(model, tenant, lanes)


def pick_lane(model: str, tenant: str, lanes: tuple[Lane, ...]) -> Lane:
    """Weighted rendezvous: a tenant keeps its lane, and a weight that grows takes tenants and gives none away.

    (Mosharaf et al., "Weighted distributed hash tables", 2005: the least of -ln(u) / weight wins.)
    """
    key = int(blake3(f"{model}\0{tenant}".encode()).hexdigest()[:HASH_HEX], 16)
    best, least = lanes[0], float("inf")
    for lane in lanes:
        if lane.weight:
            score = -log(((key * lane.seed & MASK) + 1) / (MASK + 2)) / lane.weight
            if score < least:
                best, least = lane, score
    return best
