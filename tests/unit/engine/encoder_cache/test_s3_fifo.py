import random
from collections import OrderedDict
from itertools import accumulate

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from server.engine.encoder_cache.s3_fifo import S3Fifo

CAPACITY = 40
MOST_GHOSTS = 6


class AnyOrderOfCalls(RuleBasedStateMachine):
    """Held beside the simplest model: which keys are held, their sizes and pins."""

    def __init__(self) -> None:
        super().__init__()
        self.order = S3Fifo(CAPACITY, MOST_GHOSTS)
        self.held: dict[str, int] = {}
        self.pins: dict[str, int] = {}

    @rule(key=st.sampled_from([f"picture {n}" for n in range(16)]), size=st.integers(1, CAPACITY + 2))
    def add(self, key: str, size: int) -> None:
        if key in self.held:
            with pytest.raises(ValueError, match="held"):
                self.order.add(key, size)
            return
        pinned = sum(self.held[key] for key in self.pins)
        left = self.order.add(key, size)
        assert (left is None) == (pinned + size > CAPACITY)
        if left is None:
            return
        assert len(left) == len(set(left))
        for gone in left:
            assert gone not in self.pins
            del self.held[gone]
        self.held[key] = size

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def use(self, data: st.DataObject) -> None:
        self.order.touch(data.draw(st.sampled_from(sorted(self.held))))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def pin(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.held)))
        self.order.pin(key)
        self.pins[key] = self.pins.get(key, 0) + 1

    @precondition(lambda self: self.pins)
    @rule(data=st.data())
    def unpin(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.pins)))
        self.order.unpin(key)
        self.pins[key] -= 1
        if not self.pins[key]:
            del self.pins[key]

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.held)))
        if key in self.pins:
            with pytest.raises(ValueError, match="pinned"):
                self.order.remove(key)
        else:
            self.order.remove(key)
            del self.held[key]

    @invariant()
    def nothing_is_lost_or_beyond_its_bounds(self) -> None:
        assert len(self.order) == len(self.held)
        assert all(key in self.order for key in self.held)
        assert self.order.held_bytes == sum(self.held.values()) <= CAPACITY
        assert self.order.pinned_bytes == sum(self.held[key] for key in self.pins)
        assert self.order.ghosts <= MOST_GHOSTS


TestAnyOrderOfCalls = AnyOrderOfCalls.TestCase


def ask(order: S3Fifo, key: str) -> bool:
    """As a look-up does: what is not held is brought in, which is its first use."""
    held = key in order
    if not held:
        assert order.add(key, 1) is not None
    order.touch(key)
    return held


class Lru:
    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held: OrderedDict[str, None] = OrderedDict()

    def ask(self, key: str) -> bool:
        held = key in self.held
        self.held[key] = None
        self.held.move_to_end(key)
        if len(self.held) > self.capacity:
            self.held.popitem(last=False)
        return held


def zipf(rng: random.Random, distinct: int, requests: int) -> list[str]:
    weights = list(accumulate(1 / (rank + 1) for rank in range(distinct)))
    return [f"popular {n}" for n in rng.choices(range(distinct), cum_weights=weights, k=requests)]


def hits(trace: list[str], capacity: int) -> tuple[int, int]:
    order, lru = S3Fifo(capacity), Lru(capacity)
    return sum(ask(order, key) for key in trace), sum(lru.ask(key) for key in trace)


def test_popular_pictures_are_found_more_often_than_by_lru() -> None:
    ours, lru = hits(zipf(random.Random(7), 5_000, 30_000), capacity=250)
    assert ours > 1.1 * lru


def test_a_pass_over_a_catalogue_leaves_the_popular_ones_where_they_were() -> None:
    rng = random.Random(7)
    popular = zipf(rng, 200, 20_000)
    for at in range(1_000, 20_000, 4_000):
        popular[at:at] = [f"catalogue {at + n}" for n in range(1_000)]
    order, lru = S3Fifo(200), Lru(200)
    found = {"ours": 0, "lru": 0}
    for key in popular:
        found["ours"] += ask(order, key) and key.startswith("popular")
        found["lru"] += lru.ask(key) and key.startswith("popular")
    asked = sum(key.startswith("popular") for key in popular)
    assert found["ours"] > found["lru"]
    assert asked - found["ours"] < 0.6 * (asked - found["lru"])


def test_what_comes_back_soon_after_it_left_stays_longer() -> None:
    order = S3Fifo(10)
    for n in range(11):
        order.add(f"once {n}", 1)
    assert "once 0" not in order
    order.add("once 0", 1)
    for n in range(100, 130):
        order.add(f"once {n}", 1)
    assert "once 0" in order


def test_what_was_deleted_leaves_no_ghost() -> None:
    order = S3Fifo(10)
    order.add("a", 4)
    order.remove("a")
    assert (order.ghosts, order.held_bytes, len(order)) == (0, 0, 0)


def test_room_is_found_among_the_small_when_all_of_the_main_queue_is_pinned() -> None:
    order = S3Fifo(100)
    for n in range(10):
        order.add(f"main {n}", 9)
        order.touch(f"main {n}")
        order.touch(f"main {n}")
    order.add("big", 10)
    assert order.add("next", 10) is not None  # moves those that were used to the main queue
    kept = [f"main {n}" for n in range(10) if f"main {n}" in order]
    for key in kept:
        order.pin(key)
    room = order.capacity_bytes - order.pinned_bytes
    assert order.add("last", room) is not None
    assert all(key in order for key in kept)


def test_less_capacity_than_before_is_kept_to_from_the_next_entry_on() -> None:
    order = S3Fifo(100)
    for n in range(10):
        order.add(f"{n}", 10)
    order.capacity_bytes = 50
    left = order.add("new", 10)
    assert left is not None
    assert len(left) == 6
    assert order.held_bytes == 50


def test_unpinned_more_often_than_pinned_is_a_bug_that_is_told() -> None:
    order = S3Fifo(10)
    order.add("a", 1)
    with pytest.raises(ValueError, match="more often"):
        order.unpin("a")
