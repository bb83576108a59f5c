"""The half of the connector that lives in vLLM's scheduler: what is promised, what workers are ordered to load.

vLLM asks in this order, for each request and step: `ensure_available`, `has_item` for what it does not hold, then
`allocated` for what it made room for; at the step's end `orders`, and `told` when the workers have run it. Only the
scheduler's thread calls, and nothing here waits for a disk, but for a moment where nobody has tokens coming.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from server.engine.encoder_cache.entry import key_of
from server.engine.encoder_cache.host_memory import Held
from server.engine.encoder_cache.lookups import Lookups
from server.engine.encoder_cache.outcomes import Outcome
from server.engine.encoder_cache.refusals import Refusals
from server.engine.encoder_cache.seen import Seen
from server.engine.encoder_cache.stats import Tally
from server.engine.encoder_cache.steps import NOTHING, Load, Setup, StepOrders, StepReport

log = logging.getLogger(__name__)

# A step waits for look-ups no longer than this, and only where nothing else runs. To come again would cost a step
# of nothing, sent to the workers and back, and vLLM's own pause after it: longer than a look-up takes.
PATIENCE_S = 0.01


class Place(Protocol):
    offset: int
    length: int

    def get_num_embeds(self) -> int: ...


class Feature(Protocol):
    identifier: str
    mm_position: Place


class Request(Protocol):
    """What is read of vLLM's."""

    request_id: str
    mm_features: Sequence[Feature]
    num_computed_tokens: int


class SchedulerOutput(Protocol):
    """What is read of vLLM's."""

    free_encoder_mm_hashes: list[str]
    num_scheduled_tokens: Mapping[str, int]
    total_num_scheduled_tokens: int


class Scheduling:
    """Whatever is promised lies pinned in the arena, and is ordered of the workers in the step in which vLLM
    allocated it; it is unpinned when they have loaded it, or when vLLM made no use of the promise.

    `resident` are the identifiers for which vLLM has room in its own memory.
    """

    def __init__(
        self,
        lookups: Lookups,
        setup: Setup,
        workers: int,
        dtype: str,
        window_tokens: int,
        wait_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lookups = lookups
        self._setup = setup
        self._workers = workers
        self._dtype = dtype
        self._window_tokens = window_tokens
        self._wait_s = wait_s
        self._clock = clock
        self._waits: dict[str, tuple[int, float]] = {}
        self._ready = False
        self._off = ""
        self._step = 0
        self._resident: set[str] = set()
        self._asking: Request | None = None
        self._promised: dict[str, tuple[Load, Outcome]] = {}
        self._orders: dict[str, Load] = {}
        self._in_flight: dict[int, list[str]] = {}
        self._running: set[str] = set()
        self._patience_s = PATIENCE_S
        self._refusals = Refusals()
        self.seen = Seen()
        self.tally = Tally()

    def ensure_available(self, request: Request, num_computed_tokens: int) -> bool:
        """False while a look-up for what the next step may need is under way, no longer than `wait_s` at a time."""
        self._asking = request
        self._refusals.follow(request)
        self.seen.asks(request)
        if not self._open or not self._is_looking_for(request, num_computed_tokens):
            return True
        return self._has_waited(request.request_id, num_computed_tokens)

    def has_item(self, identifier: str) -> bool:
        """A promise, if so. vLLM asks of the request of the last `ensure_available`, for what it does not hold."""
        self._withdraw(identifier)
        self._let_go(identifier)
        if not self._open:
            return False
        key = key_of(identifier)
        held = self._lookups.pin(key)
        if held is None:
            return False
        if not self._fits(held, identifier):
            self._lookups.unpin(key, loaded=False)
            self._lookups.forget(key)  # what is encoded now takes its place in the tiers
            self.tally.count("errors|host|unfit")
            return False
        load = Load(identifier, key, held.span, held.shape, held.dtype, held.encoding)
        self._promised[identifier] = (load, held.tier)
        return True

    def allocated(self, identifier: str) -> None:
        """vLLM has room for it: it is loaded, if that was promised, or else being encoded."""
        self._resident.add(identifier)
        promise = self._promised.pop(identifier, None)
        if promise is None:
            self.seen.allocated(identifier, "miss")
            self.tally.count("lookups|miss")
            return
        load, tier = promise
        again = identifier in self._orders  # allocated, given up and allocated again within a step
        self._orders[identifier] = load
        if again:
            self._lookups.unpin(load.key, loaded=False)
        self.seen.allocated(identifier, tier)
        self.tally.count(f"lookups|hit_{tier}")

    def orders(self, output: SchedulerOutput) -> StepOrders:
        """For the workers, before the step runs."""
        for identifier in output.free_encoder_mm_hashes:
            self._let_go(identifier)
            if freed := self._orders.pop(identifier, None):  # workers free first and load then: it would stay
                self._lookups.unpin(freed.key, loaded=False)
        for identifier in list(self._promised):
            self._withdraw(identifier)
        self._running = set(output.num_scheduled_tokens)
        self._patience_s = PATIENCE_S
        if not output.total_num_scheduled_tokens:
            # Workers of the V1 runner would not see them: what is ordered waits for the next step.
            return NOTHING
        if (self._ready or self._off) and not self._orders:
            return NOTHING
        self._step += 1
        loads, self._orders = tuple(self._orders.values()), {}
        if loads:
            self._in_flight[self._step] = [load.key for load in loads]
        return StepOrders(self._step, loads, None if self._ready or self._off else self._setup)

    def told(self, report: StepReport) -> None:
        """What the workers say, of all of them, when the step is over."""
        self.tally.add(report.counts, report.held)
        for step in [step for step in self._in_flight if step <= report.step]:
            for key in self._in_flight.pop(step):
                self._lookups.unpin(key)
        for key in report.saved:
            self._lookups.saved(key)
        if report.failed:
            self._refusals.spoil(report.failed)
        if report.off:
            self.turn_off(report.off)
        elif report.step and not self._ready and not self._off:
            self._ready = report.workers >= self._workers
            if not self._ready:
                self.turn_off(f"{report.workers} of {self._workers} workers share this process's memory")

    def finished(self, request: Request) -> None:
        name = request.request_id
        self._running.discard(name)
        self.seen.finished(name)
        self._refusals.finished(name)
        self._waits.pop(name, None)

    def take_unavailable(self) -> set[str]:
        """Requests that vLLM must fail, since a worker could not load what they need. They may be asked again."""
        return self._refusals.take()

    def turn_off(self, reason: str) -> None:
        """Nothing is promised any more; what was is still loaded."""
        if not self._off:
            self._off = reason
            log.warning("The embedding cache is off until the engine restarts: %s", reason)

    @property
    def is_on(self) -> bool:
        return not self._off

    @property
    def _open(self) -> bool:
        return self._ready and not self._off

    def _has_waited(self, name: str, computed: int) -> bool:
        """Each look-up is bounded, but not what comes of several: where host memory has no room for all that
        requests wait for, one could push out what another found, for ever.
        """
        now = self._clock()
        at, until_s = self._waits.get(name, (-1, 0.0))
        if at != computed:
            at, until_s = self._waits[name] = (computed, now + self._wait_s)
        return now >= until_s

    def _is_looking_for(self, request: Request, computed: int) -> bool:
        """Starts look-ups for what the next step may need. Whether one of them is still under way."""
        last = request.mm_features[-1].mm_position
        if last.offset + last.length <= computed:  # all of its later steps
            return False
        looking = []
        for feature in request.mm_features:
            place = feature.mm_position
            if place.offset + place.length <= computed or feature.identifier in self._resident:
                continue
            if place.offset >= computed + self._window_tokens:
                break
            key = key_of(feature.identifier)
            if self._lookups.look(key) == "looking":
                looking.append(key)
        return any(self._is_awaited(key) for key in looking)

    def _is_awaited(self, key: str) -> bool:
        """Whether the look-up is still under way, after a moment's patience where nothing else runs."""
        if self._running or self._patience_s <= 0:
            return True
        began = self._clock()
        self._lookups.wait(key, self._patience_s)
        self._patience_s -= self._clock() - began
        return self._lookups.look(key) == "looking"

    def _fits(self, held: Held, identifier: str) -> bool:
        """A key of a client's own could name another picture, or the same at another size."""
        features = self._asking.mm_features if self._asking else ()
        rows = {f.mm_position.get_num_embeds() for f in features if f.identifier == identifier}
        fits = len(held.shape) == 2 and rows == {held.shape[0]}
        return fits and held.dtype == self._dtype and held.encoding == self._setup.encoding

    def _let_go(self, identifier: str) -> None:
        """vLLM holds it no more, so what was wrong with it is over."""
        self._resident.discard(identifier)
        self._refusals.let_go(identifier)

    def _withdraw(self, identifier: str) -> None:
        if promise := self._promised.pop(identifier, None):
            self._lookups.unpin(promise[0].key, loaded=False)
