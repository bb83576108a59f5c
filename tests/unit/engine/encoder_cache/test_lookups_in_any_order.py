"""Look-ups beside a model: whatever order the scheduler, the tiers, the clock and deletions come in."""

import tempfile
from pathlib import Path
from queue import Empty

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from server.engine.encoder_cache.arena import Arena
from server.engine.encoder_cache.arena_view import PAGE_BYTES, ArenaView
from server.engine.encoder_cache.entry import Embedding, key_of
from server.engine.encoder_cache.host_memory import Held
from server.engine.encoder_cache.lookups import Lookups
from tests.unit.engine.encoder_cache.stand_ins import MemoryTier, embedding

PAGES = 4
WAIT_S, TTL_S = 0.25, 30.0
NAMES = {key_of(name): name for name in "abcdef"}
KEYS = st.sampled_from(sorted(NAMES))
ROWS = {key: (PAGE_BYTES // 8) * (1 + number % 2) for number, key in enumerate(sorted(NAMES))}


class AnyOrderOfCalls(RuleBasedStateMachine):
    """`in_question` are keys whose look-up began since they were last forgotten: only those may come to be held."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.arena = Arena.create(PAGES * PAGE_BYTES, "engine", [Path(self.folder.name)])
        self.worker = ArenaView.attach(self.arena.handle)
        self.now = 1000.0
        self.tiers = (MemoryTier(), MemoryTier(name="shared"))
        self.promoted: list[tuple[str, Embedding]] = []
        self.lookups = Lookups(
            self.arena,
            self.tiers,
            WAIT_S,
            threads=0,
            ttl_s=TTL_S,
            offer=lambda key, bytes_of, _: self.promoted.append((key, bytes_of())) is None,
            clock=lambda: self.now,
            wall=lambda: self.now,
        )
        self.waiting_since: dict[str, float] = {}
        self.in_question: set[str] = set()
        self.pinned: list[tuple[str, Held]] = []

    def teardown(self) -> None:
        self.worker.close()
        self.arena.close()
        self.folder.cleanup()

    @rule(key=KEYS)
    def look(self, key: str) -> None:
        begun = self.lookups.figures.begun
        answer = self.lookups.look(key)
        if self.lookups.figures.begun > begun:
            assert answer == "looking"
            self.waiting_since[key] = self.now
            self.in_question.add(key)
        if answer == "looking":
            assert self.now < self.waiting_since[key] + WAIT_S
        assert (answer == "held") == (self.lookups.held(key) is not None)

    @rule(tier=st.integers(0, 1))
    def read(self, tier: int) -> None:
        try:
            key = self.lookups._readings[tier]._waiting.get_nowait()
        except Empty:
            return
        assert key is not None
        self.lookups._readings[tier].read(key)

    @rule(key=KEYS, tier=st.integers(0, 1), told=st.booleans())
    def save(self, key: str, tier: int, told: bool) -> None:
        self.tiers[tier].held[key] = embedding(NAMES[key], ROWS[key], created_s=self.now)
        if told:
            self.lookups.saved(key)
            if self.lookups.held(key) is None and key not in {pinned for pinned, _ in self.pinned}:
                assert self.lookups._absent.get(key) is None

    @rule(key=KEYS, tier=st.integers(0, 1))
    def evict_from_a_tier(self, key: str, tier: int) -> None:
        self.tiers[tier].forget(key)

    @rule(key=KEYS)
    def pin(self, key: str) -> None:
        held = self.lookups.pin(key)
        if held is not None:
            self.pinned.append((key, held))

    @precondition(lambda self: self.pinned)
    @rule(data=st.data(), loaded=st.booleans())
    def unpin(self, data: st.DataObject, loaded: bool) -> None:
        key, _ = self.pinned.pop(data.draw(st.integers(0, len(self.pinned) - 1)))
        self.lookups.unpin(key, loaded)

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        for tier in self.tiers:
            tier.forget(key)
        self.lookups.forget(key)
        self.in_question.discard(key)
        self.promoted = [each for each in self.promoted if each[0] != key]

    @rule(seconds=st.sampled_from([0.1, 0.3, 1.1, TTL_S / 2]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def tidy(self) -> None:
        self.lookups.tidy()

    @invariant()
    def what_is_pinned_is_read_as_it_was_promised(self) -> None:
        for key, held in self.pinned:
            into = bytearray(held.span.length)
            self.worker.read(held.span, memoryview(into))
            assert bytes(into) == bytes(embedding(NAMES[key], ROWS[key]).data)

    @invariant()
    def what_is_held_was_asked_for_since_it_was_forgotten_and_is_not_over(self) -> None:
        for key in NAMES:
            if self.lookups.held(key) is not None:
                assert key in self.in_question
                assert self.now < self.waiting_since[key] + TTL_S + WAIT_S
        for key, _ in self.promoted:
            assert key in self.in_question

    @invariant()
    def bytes_are_bounded_and_counted(self) -> None:
        figures = self.lookups.figures
        pinned = dict(self.pinned)
        pages = sum(count for held in pinned.values() for _, count in held.span.runs)
        graces = set(self.lookups._memory._graces) - set(pinned)
        pages += sum(ROWS[key] * 8 // PAGE_BYTES for key in graces)
        assert figures.bytes_pinned == pages * PAGE_BYTES
        assert figures.bytes_pinned <= figures.bytes_held <= PAGES * PAGE_BYTES

    @invariant()
    def no_memory_is_lost(self) -> None:
        self.lookups._memory.tidy()
        free = self.arena._free.pages
        assert free * PAGE_BYTES + self.lookups.figures.bytes_held == self.arena._grown * PAGE_BYTES


AnyOrderOfCalls.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyOrderOfCalls = AnyOrderOfCalls.TestCase
