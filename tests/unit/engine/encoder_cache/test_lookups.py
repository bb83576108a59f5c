"""Look-ups: what is found, waited for, remembered and forgotten."""

import threading
import time

import pytest

from server.engine.encoder_cache.arena import Arena
from server.engine.encoder_cache.arena_view import PAGE_BYTES, Span
from server.engine.encoder_cache.entry import Embedding, key_of
from server.engine.encoder_cache.lookups import ABSENT_S, MOST_ABSENT, Lookups
from server.engine.encoder_cache.reading import MOST_WAITING
from tests.unit.engine.encoder_cache.looking import (
    KEY,
    OTHER,
    WAIT_S,
    Clock,
    read,
    settled,
    stepped,
    work,
)
from tests.unit.engine.encoder_cache.stand_ins import MemoryTier, embedding


def test_what_a_tier_has_is_held_and_read_where_it_lies(arena: Arena) -> None:
    tier = MemoryTier(embedding("a"))
    lookups = Lookups(arena, [tier], wait_s=60)
    assert lookups.look(KEY) == "looking"
    assert settled(lookups, KEY) == "held"
    held = lookups.pin(KEY)
    assert held is not None
    assert held == lookups.held(KEY)
    assert read(arena, held.span) == bytes(embedding("a").data)
    assert (held.shape, held.dtype, held.encoding) == ((4, 4), "bfloat16", "raw")
    assert tier.asked[KEY] == 1
    assert lookups.close()


def test_a_thread_that_reads_at_once_finds_it_wanted(arena: Arena, clock: Clock) -> None:
    tier = MemoryTier(embedding("a"))
    lookups = stepped(arena, clock, tier)
    reading = lookups._readings[0]
    wanted: list[bool] = []

    def submit(key: str) -> bool:
        wanted.append(reading._is_wanted(key))  # what the thread would ask, quicker than who submits goes on
        return True

    reading.submit = submit  # type: ignore[method-assign]
    assert lookups.look(KEY) == "looking"
    assert wanted == [True]


def test_a_hundred_threads_that_ask_for_one_picture_make_one_lookup(arena: Arena) -> None:
    tier = MemoryTier(embedding("a"))
    tier.open.clear()
    lookups = Lookups(arena, [tier], wait_s=60, threads=4)
    together = threading.Barrier(100)
    answers: list[str] = []

    def ask() -> None:
        together.wait()
        answers.append(lookups.look(KEY))

    threads = [threading.Thread(target=ask) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["looking"] * 100
    tier.open.set()
    assert settled(lookups, KEY) == "held"
    assert (tier.asked[KEY], lookups.figures.begun) == (1, 1)
    assert lookups.close()


def test_it_is_of_its_tier_until_it_was_loaded_and_of_host_memory_from_then_on(arena: Arena, clock: Clock) -> None:
    lookups = stepped(arena, clock, MemoryTier(), MemoryTier(embedding("a"), name="shared"))
    lookups.look(KEY)
    work(lookups)
    tiers = []
    for loaded in (False, True, True):
        held = lookups.pin(KEY)
        assert held is not None
        tiers.append(held.tier)
        lookups.unpin(KEY, loaded)
    assert tiers == ["shared", "shared", "host"]
    assert (lookups.figures.found_disk, lookups.figures.found_shared) == (0, 1)


def test_what_the_shared_tier_had_is_offered_to_the_disk_and_what_the_disk_had_is_not(
    arena: Arena, clock: Clock
) -> None:
    offered: list[tuple[str, Embedding, int]] = []

    def offer(key: str, bytes_of: object, size: int) -> bool:
        offered.append((key, bytes_of(), size))  # type: ignore[operator]
        return True

    disk, shared = MemoryTier(embedding("a")), MemoryTier(embedding("b"), name="shared")
    lookups = stepped(arena, clock, disk, shared, offer=offer)
    lookups.look(KEY)
    lookups.look(OTHER)
    work(lookups)
    assert offered == [(OTHER, shared.held[OTHER], 32)]


def test_absence_is_remembered_for_a_second_and_no_longer(arena: Arena, clock: Clock) -> None:
    tier = MemoryTier()
    lookups = stepped(arena, clock, tier)
    lookups.look(KEY)
    work(lookups)
    assert lookups.look(KEY) == "absent"
    assert tier.asked[KEY] == 1
    clock.now += ABSENT_S
    assert lookups.look(KEY) == "looking"
    tier.held[KEY] = embedding("a")
    work(lookups)
    assert lookups.look(KEY) == "held"


def test_what_was_saved_is_looked_for_at_once(arena: Arena, clock: Clock) -> None:
    tier = MemoryTier()
    lookups = stepped(arena, clock, tier)
    lookups.look(KEY)
    work(lookups)
    assert lookups.look(KEY) == "absent"
    tier.held[KEY] = embedding("a")
    lookups.saved(KEY)
    assert lookups.look(KEY) == "looking"
    work(lookups)
    assert lookups.look(KEY) == "held"


def test_what_was_saved_while_a_lookup_found_nothing_is_looked_for_again(arena: Arena, clock: Clock) -> None:
    tier = MemoryTier()
    lookups = stepped(arena, clock, tier)
    lookups.look(KEY)
    lookups.saved(KEY)
    work(lookups)
    assert lookups.look(KEY) == "looking"


def test_a_lookup_is_waited_for_so_long_and_is_held_when_it_comes_late(arena: Arena, clock: Clock) -> None:
    tier = MemoryTier(embedding("a"))
    lookups = stepped(arena, clock, tier)
    assert lookups.look(KEY) == "looking"
    clock.now += WAIT_S - 0.01
    assert lookups.look(KEY) == "looking"
    get = tier.get

    def late(key: str) -> Embedding | None:
        clock.now += 1
        assert lookups.look(key) == "absent"
        assert lookups.look(key) == "absent"
        return get(key)

    tier.get = late  # type: ignore[method-assign]
    work(lookups)
    assert lookups.look(KEY) == "held"
    assert lookups.figures.late == 1


def test_who_waits_for_a_look_up_goes_on_as_soon_as_it_is_over(arena: Arena, clock: Clock) -> None:
    tier = MemoryTier(embedding("a"))
    lookups = Lookups(arena, [tier], wait_s=60, clock=clock)
    for key, answer in ((KEY, "held"), (OTHER, "absent")):
        assert lookups.look(key) == "looking"
        lookups.wait(key, 60)
        assert lookups.look(key) == answer
    lookups.wait(KEY, 60)  # there is none any more
    assert lookups.close()


def test_a_look_up_that_takes_long_is_waited_for_no_longer_than_was_said(arena: Arena) -> None:
    tier = MemoryTier(embedding("a"))
    tier.open.clear()
    lookups = Lookups(arena, [tier], wait_s=60)
    assert lookups.look(KEY) == "looking"
    lookups.wait(KEY, 0.001)
    assert lookups.look(KEY) == "looking"
    tier.open.set()
    assert settled(lookups, KEY) == "held"
    assert lookups.close()


def test_nobody_waits_for_what_was_forgotten_meanwhile(arena: Arena, clock: Clock) -> None:
    tier = MemoryTier(embedding("a"))
    tier.open.clear()
    lookups = Lookups(arena, [tier], wait_s=60, clock=clock)
    assert lookups.look(KEY) == "looking"
    lookups.forget(KEY)
    lookups.wait(KEY, 60)
    assert lookups.look(KEY) == "absent"
    tier.open.set()
    assert lookups.close()


def test_what_has_waited_too_long_is_not_read_any_more(arena: Arena, clock: Clock) -> None:
    tier = MemoryTier(embedding("a"))
    lookups = stepped(arena, clock, tier)
    lookups.look(KEY)
    clock.now += WAIT_S
    assert work(lookups) == 1
    assert tier.asked[KEY] == 0
    assert lookups.figures.looking == 0


def test_while_every_thread_hangs_nobody_waits_and_nothing_piles_up(arena: Arena, clock: Clock) -> None:
    disk = MemoryTier()
    disk.open.clear()
    lookups = Lookups(arena, [disk], WAIT_S, threads=2, clock=clock, wall=clock)
    for name in ("a", "b"):
        assert lookups.look(key_of(name)) == "looking"
        disk.entered.acquire()
    assert lookups.look(key_of("c")) == "looking"
    clock.now += WAIT_S + 0.01
    assert [lookups.look(key_of(name)) for name in "abcdef"] == ["absent"] * 6
    assert (lookups.figures.looking, lookups.figures.refused, lookups.figures.late) == (3, 3, 3)
    disk.open.set()
    while lookups.figures.looking:
        time.sleep(0.001)
    assert disk.asked[key_of("c")] == 0
    clock.now += ABSENT_S
    assert lookups.look(key_of("d")) == "looking"
    assert lookups.close()


def test_a_disk_that_hangs_does_not_keep_from_the_shared_tier(arena: Arena, clock: Clock) -> None:
    disk, shared = MemoryTier(), MemoryTier(embedding("b"), name="shared")
    disk.open.clear()
    lookups = Lookups(arena, [disk, shared], WAIT_S, threads=1, clock=clock, wall=clock)
    lookups.look(KEY)
    disk.entered.acquire()
    clock.now += WAIT_S + 0.01
    assert lookups.look(OTHER) == "looking"
    assert settled(lookups, OTHER) == "held"
    disk.open.set()
    assert lookups.close()


def test_no_more_lookups_wait_than_are_worth_it(arena: Arena, clock: Clock) -> None:
    lookups = stepped(arena, clock, MemoryTier())
    answers = [lookups.look(key_of(str(n))) for n in range(MOST_WAITING + 10)]
    assert answers == ["looking"] * MOST_WAITING + ["absent"] * 10
    assert (lookups.figures.looking, lookups.figures.refused) == (MOST_WAITING, 10)


def test_no_more_absent_keys_are_remembered_than_the_bound(arena: Arena, clock: Clock) -> None:
    lookups = stepped(arena, clock, MemoryTier())
    for n in range(MOST_ABSENT + 100):
        lookups.look(key_of(str(n)))
        work(lookups)
    assert lookups.figures.remembered_absent == MOST_ABSENT
    assert lookups.look(key_of("0")) == "looking"


def test_a_tier_with_a_bug_is_a_miss_and_its_thread_lives_on(
    arena: Arena, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tier = MemoryTier(embedding("b"))
    get = tier.get

    def broken(key: str) -> Embedding | None:
        if key == KEY:
            raise RuntimeError("a bug")
        return get(key)

    monkeypatch.setattr(tier, "get", broken)
    lookups = Lookups(arena, [tier], wait_s=60, threads=1)
    assert settled(lookups, KEY) == "absent"
    assert settled(lookups, OTHER) == "held"
    assert "disk tier failed" in caplog.text
    assert lookups.close()


def test_forgetting_during_a_lookup_wins_and_nothing_is_written_back(arena: Arena, clock: Clock) -> None:
    offered: list[object] = []
    shared = MemoryTier(embedding("a"), name="shared")
    lookups = stepped(arena, clock, MemoryTier(), shared, offer=lambda *given: offered.append(given) or True)
    lookups.look(KEY)
    work(lookups, 0)
    put = arena.put

    def forgotten_meanwhile(data: memoryview) -> Span | None:
        lookups.forget(KEY)
        return put(data)

    arena.put = forgotten_meanwhile  # type: ignore[method-assign, assignment]
    work(lookups, 1)
    assert lookups.look(KEY) == "absent"
    assert lookups.pin(KEY) is None
    assert (offered, lookups.figures.bytes_held) == ([], 0)
    lookups.tidy()
    assert put(memoryview(bytes(8 * PAGE_BYTES))) is not None


def test_a_lookup_that_was_forgotten_is_nobodys_to_wait_for(arena: Arena, clock: Clock) -> None:
    tier = MemoryTier(embedding("a"))
    lookups = stepped(arena, clock, tier)
    lookups.look(KEY)
    lookups.forget(KEY)
    assert lookups.look(KEY) == "absent"
    work(lookups)
    assert tier.asked[KEY] == 0
