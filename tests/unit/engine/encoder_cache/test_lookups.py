import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty

import pytest

from server.engine.encoder_cache.arena import Arena
from server.engine.encoder_cache.arena_view import PAGE_BYTES, Span, StaleSpan
from server.engine.encoder_cache.entry import Embedding, key_of
from server.engine.encoder_cache.host_memory import GRACE_S
from server.engine.encoder_cache.lookups import ABSENT_S, MOST_ABSENT, Lookups
from server.engine.encoder_cache.reading import MOST_WAITING
from tests.unit.engine.encoder_cache.stand_ins import MemoryTier, SharedFolder, embedding

KEY, OTHER = key_of("a"), key_of("b")
WAIT_S = 0.25
PAGE_ROWS = PAGE_BYTES // 8


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    arena = Arena.create(8 * PAGE_BYTES, "engine", [tmp_path])
    yield arena
    arena.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def stepped(arena: Arena, clock: Clock, *tiers: MemoryTier, **options: object) -> Lookups:
    """Without threads: `work` does what they would."""
    return Lookups(arena, tiers, WAIT_S, threads=0, clock=clock, wall=clock, **options)  # type: ignore[arg-type]


def work(lookups: Lookups, *tiers: int) -> int:
    """Reads what waits for those tiers, or all of them; how many keys that was."""
    done = 0
    for tier, reading in enumerate(lookups._readings):
        while tier in tiers or not tiers:
            try:
                key = reading._waiting.get_nowait()
            except Empty:
                break
            assert key is not None
            reading.read(key)
            done += 1
    return done


def read(arena: Arena, span: Span) -> bytes:
    into = bytearray(span.length)
    arena.view.read(span, memoryview(into))
    return bytes(into)


def settled(lookups: Lookups, key: str) -> str:
    while (answer := lookups.look(key)) == "looking":
        time.sleep(0.001)
    return answer


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
