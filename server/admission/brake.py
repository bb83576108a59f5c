"""How much of a pool's places and KV cache requests may hold, by what its engines report: it brakes and lets go.

Costs say what a request may take at most. What it takes shows in the engines' reports: KV usage, and requests that
wait inside an engine. Both correct the limits, down at once and up by a tenth each time, so that several gateways
in front of the same engines come to share them, too.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

# A place is a sequence that the engine runs; vLLM's own bound on them (--max-num-seqs) is in none of its metrics.
FIRST_PLACES, MOST_PLACES = 64, 256
LEAST = 1 / MOST_PLACES
GROWTH = 1.1
# Only a limit that is nearly used up can be found too low.
BINDING = 0.9
# Requests wait inside an engine for a step or two as they come; this part of those that run is no pressure.
USUAL_WAITING = 0.1


class Report(Protocol):
    """What one ready engine says of itself (`server.engines.capacity`); what it does not say is None."""

    @property
    def blocks(self) -> int | None: ...

    @property
    def state_blocks(self) -> int: ...

    @property
    def kv_tokens(self) -> int | None: ...

    @property
    def kv_usage(self) -> float | None: ...

    @property
    def running(self) -> int: ...

    @property
    def waiting(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Load:
    """A pool's engines added up. `kv_usage` is the mean by size; tokens are known if every engine tells them.

    `each_tokens` is what a request takes whatever its length: half a block, and the state of layers with linear
    attention, in the same tokens as `kv_tokens`. Short chats with Qwen3.5 take little else.
    """

    engines: int = 0
    kv_tokens: int | None = None
    kv_usage: float | None = None
    running: int = 0
    waiting: int = 0
    each_tokens: int = 0


def add_up(reports: Iterable[Report], processes: int = 1) -> Load:
    """The load, with the part of the tokens that is one's of `processes` in front of the same engines."""
    found = list(reports)
    sizes = [report.kv_tokens for report in found if report.kv_tokens is not None]
    used = [(r.kv_tokens or 1, r.kv_usage) for r in found if r.kv_usage is not None]
    usage = sum(size * part for size, part in used) / sum(size for size, _ in used) if used else None
    tokens = sum(sizes) // processes if found and len(sizes) == len(found) else None
    each = max((tokens_of_each(report) for report in found), default=0)
    return Load(len(found), tokens, usage, sum(r.running for r in found), sum(r.waiting for r in found), each)


def tokens_of_each(report: Report) -> int:
    if not report.kv_tokens or not report.blocks:
        return 0
    return round((report.state_blocks + 0.5) * report.kv_tokens / report.blocks)


@dataclass(frozen=True, slots=True)
class BrakeRules:
    """`max_running`: places of the pool, None for what the engines turn out to take.

    Above `brake_above` KV usage the brake is on, below `release_below` it lets go. Costs are what requests take at
    most: where live usage shows less, up to `overcommit` times the engines' tokens are given out.
    """

    max_running: int | None
    brake_above: float
    release_below: float
    overcommit: float


class Brake:
    """`places` and `tokens` are the limits now; None tokens: unknown, and only places count."""

    def __init__(self, rules: BrakeRules) -> None:
        self._rules = rules
        self._load = Load()
        self._places_part = 1.0 if rules.max_running else FIRST_PLACES / MOST_PLACES
        self._tokens_part = 1.0
        self.places = rules.max_running or FIRST_PLACES
        self.tokens: int | None = None
        self.on = False

    def adjust(self, load: Load, places: int, tokens: int, waiting: bool) -> None:
        """By the engines' newest reports, what requests hold, and whether any wait for more."""
        self._load = load if load.engines else Load(1, self._load.kv_tokens)
        self._set_limits()
        crowded = load.waiting > max(1, USUAL_WAITING * load.running)
        full = (load.kv_usage or 0) > self._rules.brake_above
        if crowded:
            self._tighten_places(places, load.running / (load.running + load.waiting))
        elif load.engines and self._released(load) and (waiting or places >= BINDING * self.places):
            self._places_part = min(1.0, self._places_part * GROWTH + 1 / self._most_places())
        if full:
            self._tighten_tokens(places, tokens, self._rules.release_below / (load.kv_usage or 1))
        elif self._may_give_more(load, tokens, waiting) and not crowded:
            self._tokens_part = min(self._rules.overcommit, self._tokens_part * GROWTH)
        self.on = crowded or full
        self._set_limits()

    def _may_give_more(self, load: Load, tokens: int, waiting: bool) -> bool:
        used_up = self.tokens is not None and (waiting or tokens >= BINDING * self.tokens)
        below_full = self._tokens_part < 1
        return used_up and (below_full or load.kv_usage is not None) and self._released(load)

    def _released(self, load: Load) -> bool:
        return load.kv_usage is None or load.kv_usage < self._rules.release_below

    def _tighten_places(self, places: int, ratio: float) -> None:
        """To what the engines run of ours. While more is held than is allowed, what was done has yet to show."""
        if places <= self.places:
            held = places / self._most_places()
            self._places_part = max(LEAST, min(self._places_part, held) * max(ratio, LEAST))

    def _tighten_tokens(self, places: int, tokens: int, ratio: float) -> None:
        if self.tokens is None:
            self._tighten_places(places, ratio)
        elif tokens <= self.tokens and self._load.kv_tokens:
            held = tokens / self._load.kv_tokens
            self._tokens_part = max(LEAST, min(self._tokens_part, held) * ratio)

    def _most_places(self) -> int:
        return self._rules.max_running or MOST_PLACES * max(1, self._load.engines)

    def _set_limits(self) -> None:
        self.places = max(1, round(self._places_part * self._most_places()))
        known = self._load.kv_tokens
        self.tokens = None if known is None else max(1, round(self._tokens_part * known))
