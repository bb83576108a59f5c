"""The shared tier in a real Valkey: who makes room for whom, whatever becomes of its books."""

import random
import time

import pytest
import redis

from server.engine.encoder_cache.entry import key_of
from tests.contract.encoder_cache.entries import OTHER_NAMESPACE, entry
from tests.contract.encoder_cache.on_valkey import ROOM, SIZE, VALUE, books_of, held_bytes, tier_on, wait_until
from tests.valkey import Valkey


def test_entries_that_were_never_hit_leave_first_and_a_scan_takes_nothing_from_those_that_were(
    valkey: Valkey, store: "redis.Redis[bytes]"
) -> None:
    tier = tier_on(valkey)
    hot = [entry(f"hot {number}") for number in range(10)]
    for one in hot:
        assert tier.put(*one)
        assert tier.get(one[0])
    for number in range(200):
        assert tier.put(*entry(f"scanned {number}"))
        assert held_bytes(store) <= ROOM
    assert all(tier.get(key) for key, _, _ in hot)
    assert tier.figures.evictions == 200 - 10
    assert books_of(store) == {"n": 10 * SIZE, "k": 10 * SIZE, "p": 0}
    assert (tier.figures.entries, tier.figures.bytes_held) == (20, 20 * SIZE)


def test_of_those_that_were_hit_the_one_leaves_that_was_hit_longest_ago(valkey: Valkey) -> None:
    first, second = tier_on(valkey), tier_on(valkey)
    names = [f"old {number}" for number in range(20)]
    for name in names:
        first.put(*entry(name))
        first.get(key_of(name))
    # Another engine's hit counts as well. (The first has told of its own a moment ago.)
    assert second.get(key_of(names[0]))
    for number in range(4):
        first.put(*entry(f"new {number}"))
        first.get(key_of(f"new {number}"))
    assert [bool(first.get(key_of(name))) for name in names[:6]] == [True, False, False, False, False, True]


def test_what_another_tower_has_left_behind_makes_room(valkey: Valkey, store: "redis.Redis[bytes]") -> None:
    """One capacity for all namespaces: those of towers that nobody runs any more would stay for ever."""
    before = tier_on(valkey, OTHER_NAMESPACE)
    for number in range(20):
        assert before.put(*entry(str(number), namespace=OTHER_NAMESPACE))
    tier = tier_on(valkey)
    for number in range(20):
        assert tier.put(*entry(str(number)))
    assert sum(before.get(key_of(str(number))) is not None for number in range(20)) == 0
    assert sum(tier.get(key_of(str(number))) is not None for number in range(20)) == 20


def test_one_entry_larger_than_half_the_room_or_than_is_ever_taken_is_refused(
    valkey: Valkey, store: "redis.Redis[bytes]"
) -> None:
    tier = tier_on(valkey)
    assert tier.put(*entry("small"))
    assert not tier.put(*entry("huge", tokens=200))
    assert tier.figures.failures == {"large": 1}
    short = tier_on(valkey, largest_payload=1000)
    assert not short.put(*entry("small too"))
    assert short.figures.failures == {"large": 1}
    # Nor is it read, and what nobody reads is removed.
    assert short.get(key_of("small")) is None
    assert short.figures.bad == {"large": 1}
    assert books_of(store) == {"n": 0, "k": 0, "p": 0}


def test_pins_outlast_every_eviction_and_take_half_the_room_at_most(
    valkey: Valkey, store: "redis.Redis[bytes]"
) -> None:
    tier = tier_on(valkey)
    assert not tier.pin(key_of("not there"))
    for number in range(20):
        tier.put(*entry(str(number)))
    assert [tier.pin(key_of(str(number))) for number in range(12)] == [True] * 10 + [False] * 2
    assert tier.pin(key_of("0"))
    for number in range(100):
        tier.put(*entry(f"more {number}"))
        tier.get(key_of(f"more {number}"))
    assert all(tier.get(key_of(str(number))) for number in range(10))
    assert books_of(store)["p"] == 10 * SIZE
    assert all(tier.unpin(key_of(str(number))) for number in range(10))
    assert books_of(store)["p"] == 0


def test_entries_live_as_long_as_they_are_said_to(valkey: Valkey, store: "redis.Redis[bytes]") -> None:
    tier = tier_on(valkey, ttl_s=3600)
    tier.put(*entry("a"))
    assert 3500 < store.ttl(VALUE + key_of("a")) <= 3600
    # Written by an engine that keeps them longer, or before the setting was lowered.
    from_then = tier_on(valkey)
    old = entry("b", created_s=time.time() - 7200)
    assert from_then.put(*old)
    assert tier.get(old[0]) is None
    assert from_then.get(old[0]) is None
    assert not tier.put(*old)


# Books that no longer say what is there.


@pytest.mark.parametrize("lost", ["books", "new", "kept", "pinned"])
def test_room_is_kept_though_a_part_of_the_books_is_lost(
    valkey: Valkey, store: "redis.Redis[bytes]", lost: str
) -> None:
    tier = tier_on(valkey)
    for number in range(20):
        tier.put(*entry(str(number)))
        if number % 2:
            tier.get(key_of(str(number)))
    tier.pin(key_of("0"))
    store.delete(f"fovea:embedding:{lost}")
    for number in range(40):
        assert tier.put(*entry(f"after {number}"))
        assert held_bytes(store) <= ROOM
    if lost != "pinned":
        assert tier.get(key_of("0"))
    books_of(store)


@pytest.mark.parametrize("seed", range(3))
def test_books_heal_from_whatever_is_taken_from_under_them(
    valkey: Valkey, store: "redis.Redis[bytes]", seed: int
) -> None:
    chance = random.Random(seed)
    tier = tier_on(valkey)
    for _ in range(400):
        name = str(chance.randrange(60))
        tier.put(*entry(name))
        tier.get(key_of(str(chance.randrange(60))))
        if chance.random() < 0.3 and (taken := store.keys("fovea:embedding:????????????????:*")):
            store.delete(chance.choice(taken))
        assert held_bytes(store) <= ROOM
    for number in range(60):
        tier.put(*entry(f"after {number}"))
    held = sum(books_of(store).values())
    assert held <= ROOM
    # What has gone from under the books is struck off by chance, five at a time: few are left.
    assert held - held_bytes(store) <= 3 * SIZE


def test_a_store_that_evicts_on_its_own_costs_misses_and_nothing_else(
    valkey: Valkey, store: "redis.Redis[bytes]"
) -> None:
    tier = tier_on(valkey, room=1 << 30)
    store.config_set("maxmemory-policy", "allkeys-random")
    store.config_set("maxmemory", store.info("memory")["used_memory"] + (4 << 20))
    for number in range(300):
        assert tier.put(*entry(str(number), tokens=1024))
    found = [tier.get(key_of(str(number))) is not None for number in range(300)]
    assert 10 < sum(found) < 300
    assert not tier.figures.failures
    assert not tier.figures.bad


def test_a_full_store_refuses_and_is_still_read(valkey: Valkey, store: "redis.Redis[bytes]") -> None:
    tier = tier_on(valkey)
    assert tier.put(*entry("before"))
    store.config_set("maxmemory-policy", "noeviction")
    store.set("somebody else's", b"x" * (8 << 20))
    store.config_set("maxmemory", 4 << 20)
    assert not tier.put(*entry("after", tokens=64))
    assert not tier.put(*entry("after", tokens=64))
    assert tier.get(key_of("before"))
    # The second was not even asked about.
    assert tier.figures.failures == {"oom": 1, "off": 1}
    store.config_set("maxmemory", 0)
    wait_until(lambda: tier.put(*entry("after")))


def test_a_full_store_takes_a_new_entry_in_the_place_of_older_ones_of_ours(
    valkey: Valkey, store: "redis.Redis[bytes]"
) -> None:
    """With less memory than the room that was set it would else keep its first entries for ever."""
    tier = tier_on(valkey, room=1 << 30)
    store.config_set("maxmemory-policy", "noeviction")
    for number in range(40):
        assert tier.put(*entry(f"first {number}", tokens=1024))
    before = held_bytes(store)
    store.config_set("maxmemory", 1 << 20)
    for number in range(100):
        assert tier.put(*entry(f"then {number}", tokens=1024))
        assert held_bytes(store) <= before
    assert not tier.figures.failures
    assert tier.get(key_of("then 99"))
    assert tier.get(key_of("first 0")) is None
    books_of(store)
