"""Host memory is tidied by what is due, however much is held."""

from collections.abc import ItemsView
from typing import Never

from server.engine.encoder_cache.arena import Arena
from server.engine.encoder_cache.entry import key_of
from server.engine.encoder_cache.host_memory import GRACE_S, NEVER, HostMemory, Kept
from tests.unit.engine.encoder_cache.looking import Clock
from tests.unit.engine.encoder_cache.stand_ins import embedding


class NotWalked(dict[str, Kept]):
    """Every embedding that is held; nobody goes through all of them."""

    def items(self) -> ItemsView[str, Kept]:
        raise AssertionError("all that is held was looked at")

    def __iter__(self) -> Never:
        raise AssertionError("all that is held was looked at")


def take(memory: HostMemory, name: str, left_s: float) -> None:
    found = embedding(name)
    span = memory.put(found.key, found)
    assert span is not None
    memory.publish(found.key, found, span, "disk", left_s)


def test_a_look_for_what_has_expired_looks_at_nothing_else(arena: Arena, clock: Clock) -> None:
    memory = HostMemory(arena, clock)
    memory._kept = NotWalked()
    for name, left_s in (("a", 100), ("b", 50), ("c", NEVER), ("d", 200)):
        take(memory, name, left_s)
    for now_s, held in ((49, "abcd"), (50, "acd"), (100, "cd"), (10_000, "c")):
        clock.now = 1000.0 + now_s
        memory.tidy()
        assert [name for name in "abcd" if memory.held(key_of(name)) is not None] == [*held]
        assert len(memory) == len(held)
    assert memory.figures.expired == 3


def test_what_is_pinned_when_it_expires_leaves_when_it_is_let_go(arena: Arena, clock: Clock) -> None:
    memory = HostMemory(arena, clock)
    take(memory, "a", 100)
    assert memory.pin(key_of("a")) is not None
    clock.now += 100
    memory.tidy()
    assert (len(memory), memory.held(key_of("a"))) == (1, None)
    memory.unpin(key_of("a"), loaded=True)
    assert (len(memory), memory.figures.expired) == (0, 1)


def test_what_comes_again_has_its_new_life(arena: Arena, clock: Clock) -> None:
    memory = HostMemory(arena, clock)
    take(memory, "a", 100)
    memory.forget(key_of("a"))
    take(memory, "a", 500)
    clock.now += 499
    memory.tidy()
    assert memory.held(key_of("a")) is not None
    clock.now += 1
    memory.tidy()
    assert len(memory) == 0


def test_what_has_left_is_not_remembered_for_its_life(arena: Arena, clock: Clock) -> None:
    memory = HostMemory(arena, clock)
    for number in range(1000):
        clock.now += GRACE_S
        take(memory, f"picture {number}", 10**9)
        assert len(memory._due) <= 2 * len(memory) + 64
    assert memory.figures.evicted == 1000 - len(memory) > 0
