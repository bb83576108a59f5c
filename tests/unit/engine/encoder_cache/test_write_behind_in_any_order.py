"""Write-behind beside a model: offers, writes, refusals and deletions in any order."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from server.engine.encoder_cache.entry import key_of
from server.engine.encoder_cache.write_behind import WriteBehind
from tests.unit.engine.encoder_cache.stand_ins import NAMESPACE, MemoryTier, embedding

NAMES = {key_of(name): name for name in "abcdefgh"}
KEYS = st.sampled_from(sorted(NAMES))
SIZE = 32
MOST = 6


class AnyOrderOfCalls(RuleBasedStateMachine):
    """Without threads: `fetch` and `write` are what each would do next."""

    def __init__(self) -> None:
        super().__init__()
        self.tiers = (MemoryTier(), MemoryTier(name="shared"))
        self.writing = WriteBehind(self.tiers, NAMESPACE, MOST * SIZE, threads=False)
        self.offers: list[str] = []
        self.forgotten: set[str] = set()

    @rule(key=KEYS)
    def offer(self, key: str) -> None:
        queued = self.writing.figures.queued
        taken = self.writing.offer(key, lambda: embedding(NAMES[key]), SIZE)
        if self.writing.figures.queued > queued:
            assert taken
            self.offers.append(key)
            self.forgotten.discard(key)
        else:
            assert taken != (queued == MOST and not self.is_queued(key))

    def is_queued(self, key: str) -> bool:
        waiting = self.writing._by_key.get(key)
        return waiting is not None and not waiting.forgotten

    @rule()
    def fetch(self) -> None:
        if self.writing._waiting:
            self.writing._fetch(self.writing._waiting.popleft())

    @rule(lane=st.integers(0, 1), refuses=st.booleans())
    def write(self, lane: int, refuses: bool) -> None:
        waiting = self.writing._lanes[lane].waiting
        self.tiers[lane].refuses = refuses
        if waiting:
            self.writing._write(self.writing._lanes[lane], waiting.popleft())

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        """As who deletes does: write-behind and tiers."""
        self.writing.forget(key)
        for tier in self.tiers:
            tier.forget(key)
        self.forgotten.add(key)

    @rule()
    def take_done(self) -> None:
        for key in self.writing.take_done():
            assert key not in self.forgotten
            assert any(key in tier.held for tier in self.tiers)

    @invariant()
    def what_is_on_its_way_is_bounded_and_counted(self) -> None:
        writing = self.writing
        lanes = {id(waiting): waiting for lane in writing._lanes for waiting in lane.waiting}
        figures = writing.figures
        assert figures.queued == len(writing._waiting) + len(lanes)
        assert figures.bytes_queued == figures.queued * SIZE <= MOST * SIZE
        assert all(lane.bytes == len(lane.waiting) * SIZE for lane in writing._lanes)
        assert all(lane.bytes <= MOST * SIZE // 2 for lane in writing._lanes)

    @invariant()
    def nothing_forgotten_comes_back(self) -> None:
        for tier in self.tiers:
            assert not self.forgotten & set(tier.held)

    @invariant()
    def each_tier_was_written_in_the_order_of_the_offers(self) -> None:
        for tier in self.tiers:
            offers = iter(self.offers)
            assert all(key in offers for key in tier.order)

    def teardown(self) -> None:
        for tier in self.tiers:
            tier.refuses = False
        while self.writing._waiting:
            self.fetch()
            self.write(0, refuses=False)
            self.write(1, refuses=False)
        for lane in (0, 1):
            while self.writing._lanes[lane].waiting:
                self.write(lane, refuses=False)
        assert self.writing.drain(0)
        assert (self.writing.figures.bytes_queued, self.writing._by_key) == (0, {})


AnyOrderOfCalls.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyOrderOfCalls = AnyOrderOfCalls.TestCase
