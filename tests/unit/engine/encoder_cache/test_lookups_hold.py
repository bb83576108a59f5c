"""What look-ups have found: how long it is held, and what makes room for it."""

import time

import pytest

from server.engine.encoder_cache.arena import Arena
from server.engine.encoder_cache.arena_view import PAGE_BYTES, StaleSpan
from server.engine.encoder_cache.entry import key_of
from server.engine.encoder_cache.host_memory import GRACE_S
from server.engine.encoder_cache.lookups import ABSENT_S, Lookups
from tests.unit.engine.encoder_cache.looking import KEY, OTHER, PAGE_ROWS, Clock, read, stepped, work
from tests.unit.engine.encoder_cache.stand_ins import MemoryTier, SharedFolder, embedding


def test_what_is_forgotten_while_workers_read_it_is_there_for_them_and_wiped_after(
    arena: Arena, clock: Clock
) -> None:
    lookups = stepped(arena, clock, MemoryTier(embedding("a")))
    lookups.look(KEY)
    work(lookups)
    held = lookups.pin(KEY)
    assert held is not None
    lookups.forget(KEY)
    clock.now += ABSENT_S + 1
    lookups.tidy()
    assert (lookups.look(KEY), lookups.held(KEY), lookups.pin(KEY)) == ("absent", None, None)
    assert read(arena, held.span) == bytes(embedding("a").data)
    [piece] = arena.view.pieces(held.span)
    lookups.unpin(KEY)
    lookups.tidy()
    assert not any(piece)
    with pytest.raises(StaleSpan):
        arena.view.check(held.span)
    piece.release()


def test_what_another_process_forgets_is_heard_of(arena: Arena, clock: Clock) -> None:
    folder = SharedFolder(embedding("a"))
    lookups = stepped(arena, clock, folder)
    lookups.look(KEY)
    work(lookups)
    folder.news = [KEY]
    lookups.tidy()
    assert lookups.look(KEY) == "absent"
    assert (lookups.figures.entries, lookups.figures.forgotten) == (0, 1)


def test_nothing_is_held_for_longer_than_its_life(arena: Arena, clock: Clock) -> None:
    tier = MemoryTier(embedding("a", created_s=clock.now - 60))
    lookups = stepped(arena, clock, tier, ttl_s=100)
    lookups.look(KEY)
    work(lookups)
    clock.now += 39
    assert lookups.look(KEY) == "held"
    clock.now += 1
    assert (lookups.held(KEY), lookups.pin(KEY)) == (None, None)
    assert lookups.look(KEY) == "looking"
    work(lookups)
    assert lookups.look(KEY) == "absent"
    assert (lookups.figures.expired, lookups.figures.entries, lookups.figures.bytes_held) == (1, 0, 0)


def test_what_was_made_by_a_clock_that_is_ahead_lives_no_longer_than_a_life(arena: Arena, clock: Clock) -> None:
    lookups = stepped(arena, clock, MemoryTier(embedding("a", created_s=clock.now + 5000)), ttl_s=100)
    lookups.look(KEY)
    work(lookups)
    clock.now += 100
    assert lookups.held(KEY) is None


def test_what_nobody_asks_for_any_more_leaves_when_its_life_is_over(arena: Arena, clock: Clock) -> None:
    lookups = stepped(arena, clock, MemoryTier(embedding("a", created_s=clock.now)), ttl_s=100)
    lookups.look(KEY)
    work(lookups)
    clock.now += 100
    lookups.tidy()
    assert (lookups.figures.entries, lookups.figures.expired) == (0, 1)
    assert arena.put(bytes(8 * PAGE_BYTES)) is not None


def test_what_is_promised_is_not_evicted_and_what_finds_no_room_is_absent(arena: Arena, clock: Clock) -> None:
    names = [f"picture {n}" for n in range(10)]
    lookups = stepped(arena, clock, MemoryTier(*(embedding(name, PAGE_ROWS) for name in names)))
    pinned = []
    for name in names:
        lookups.look(key_of(name))
        work(lookups)
        pinned.append(lookups.pin(key_of(name)))
    assert [held is not None for held in pinned] == [True] * 8 + [False] * 2
    assert (lookups.figures.no_room, lookups.figures.evicted) == (2, 0)
    clock.now += GRACE_S
    for name, held in zip(names, pinned, strict=True):
        if held is not None:
            assert read(arena, held.span) == bytes(embedding(name, PAGE_ROWS).data)
            lookups.unpin(key_of(name))
    lookups.look(key_of(names[9]))
    work(lookups)
    assert lookups.look(key_of(names[9])) == "held"
    assert lookups.figures.evicted == 1


def test_what_one_request_waits_for_is_not_evicted_for_another_before_it_can_run(
    arena: Arena, clock: Clock
) -> None:
    names = [f"picture {n}" for n in range(12)]
    tier = MemoryTier(*(embedding(name, PAGE_ROWS) for name in names))
    lookups = stepped(arena, clock, tier)
    for name in names:
        lookups.look(key_of(name))
    work(lookups)
    assert [lookups.look(key_of(name)) for name in names] == ["held"] * 8 + ["absent"] * 4
    assert all(lookups.pin(key_of(name)) for name in names[:8])
    assert max(tier.asked.values()) == 1


@pytest.mark.parametrize("loaded", [True, False])
def test_what_was_loaded_makes_room_at_once_and_a_promise_that_was_withdrawn_does_not(
    arena: Arena, clock: Clock, loaded: bool
) -> None:
    lookups = stepped(arena, clock, MemoryTier(embedding("a", 8 * PAGE_ROWS), embedding("b")))
    lookups.look(KEY)
    work(lookups)
    assert lookups.pin(KEY)
    lookups.unpin(KEY, loaded)
    lookups.look(OTHER)
    work(lookups)
    assert lookups.look(OTHER) == ("held" if loaded else "absent")


def test_what_nobody_came_for_makes_room_after_a_moment(arena: Arena, clock: Clock) -> None:
    lookups = stepped(arena, clock, MemoryTier(embedding("a", 8 * PAGE_ROWS), embedding("b")))
    lookups.look(KEY)
    work(lookups)
    clock.now += GRACE_S
    lookups.look(OTHER)
    work(lookups)
    assert lookups.look(OTHER) == "held"
    assert lookups.held(KEY) is None
    assert lookups.figures.bytes_held == PAGE_BYTES


def test_an_arena_that_could_not_grow_is_less_room_and_no_fault(
    arena: Arena, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookups = stepped(arena, clock, MemoryTier(embedding("a"), embedding("b")))
    with monkeypatch.context() as patch:
        patch.setattr(arena, "_grown", 2)
        patch.setattr(arena, "_full_until_s", float("inf"))
        patch.setattr(arena, "_allocate", lambda _: None)
        lookups.look(KEY)
        work(lookups)
        assert lookups.look(KEY) == "absent"
        assert (lookups.figures.no_room, lookups.figures.bytes_held) == (1, 0)
        assert lookups.figures.capacity_bytes == 2 * PAGE_BYTES
    lookups.look(OTHER)
    work(lookups)
    assert lookups.look(OTHER) == "held"
    lookups.tidy()
    assert lookups.figures.capacity_bytes == 8 * PAGE_BYTES


def test_unpinned_more_often_than_pinned_is_told_in_the_log_and_does_not_reach_vllm(
    arena: Arena, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    lookups = stepped(arena, clock, MemoryTier(embedding("a")))
    lookups.unpin(KEY)
    lookups.look(KEY)
    work(lookups)
    lookups.unpin(KEY)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert lookups.look(KEY) == "held"


def test_a_tier_that_hangs_at_the_end_puts_nothing_into_memory_that_is_gone(
    arena: Arena, caplog: pytest.LogCaptureFixture
) -> None:
    tier = MemoryTier(embedding("a"))
    tier.open.clear()
    lookups = Lookups(arena, [tier], wait_s=60, threads=1)
    lookups.look(KEY)
    tier.entered.acquire()
    assert lookups.close(timeout_s=0.01)
    arena.close()
    tier.open.set()
    while lookups.figures.looking:
        time.sleep(0.001)
    assert lookups.look(KEY) == "absent"
    assert not caplog.records
