"""Look-ups whose threads and clock a test has in its hands."""

import time
from queue import Empty

from server.engine.encoder_cache.arena import Arena
from server.engine.encoder_cache.arena_view import PAGE_BYTES, Span
from server.engine.encoder_cache.entry import key_of
from server.engine.encoder_cache.lookups import Lookups
from tests.unit.engine.encoder_cache.stand_ins import MemoryTier

KEY, OTHER = key_of("a"), key_of("b")
WAIT_S = 0.25
PAGE_ROWS = PAGE_BYTES // 8


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


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
