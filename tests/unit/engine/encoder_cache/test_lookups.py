import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.engine.encoder_cache.arena import Arena
from server.engine.encoder_cache.arena_view import PAGE_BYTES, Span
from server.engine.encoder_cache.entry import key_of
from server.engine.encoder_cache.lookups import Lookups
from tests.unit.engine.encoder_cache.stand_ins import MemoryTier, embedding

KEY = key_of("a")


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    arena = Arena.create(8 * PAGE_BYTES, "engine", [tmp_path])
    yield arena
    arena.close()


def read(arena: Arena, span: Span) -> bytes:
    into = bytearray(span.length)
    arena.view.read(span, memoryview(into))
    return bytes(into)


def settled(lookups: Lookups, key: str) -> str:
    while (answer := lookups.look(key)) == "looking":
        pass
    return answer


def test_what_a_tier_has_is_held_and_pinned_from_then_on(arena: Arena) -> None:
    tier = MemoryTier(embedding("a"))
    lookups = Lookups(arena, [tier], wait_s=60)
    assert lookups.look(KEY) == "looking"
    assert settled(lookups, KEY) == "held"
    held = lookups.pin(KEY)
    assert held is not None
    assert read(arena, held.span) == bytes(embedding("a").data)
    assert (held.shape, held.dtype, held.encoding, held.tier) == ((4, 4), "bfloat16", "raw", "disk")
    lookups.unpin(KEY)
    again = lookups.pin(KEY)
    assert again is not None
    assert again.tier == "host"
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
