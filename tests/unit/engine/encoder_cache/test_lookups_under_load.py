"""All of it at once: threads that look, forget and promise, a tier that takes its time, and a worker's process."""

import multiprocessing
import random
import threading
import time
from dataclasses import replace
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import pytest

from server.engine.encoder_cache import host_memory, lookups
from server.engine.encoder_cache.arena import Arena
from server.engine.encoder_cache.arena_view import PAGE_BYTES, ArenaView, Span
from server.engine.encoder_cache.entry import Embedding, key_of
from server.engine.encoder_cache.lookups import Lookups
from server.engine.encoder_cache.write_behind import WriteBehind
from tests.unit.engine.encoder_cache.stand_ins import NAMESPACE, MemoryTier, embedding

NAMES = [f"picture {n}" for n in range(60)]
ROWS = {name: (1 + n % 4) * PAGE_BYTES // 8 - n for n, name in enumerate(NAMES)}
READS = 500
Promise = tuple[str, Span]


class Slow(MemoryTier):
    """What it has was made this moment: else a machine that is slow for a life would find nothing for ever."""

    def get(self, key: str) -> Embedding | None:
        time.sleep(random.random() * 0.002)
        found = self.held.get(key)
        return None if found is None else replace(found, created_s=time.time())


def read(handle: str, promises: "SimpleQueue[Promise | None]", told: "SimpleQueue[tuple[str, bool]]") -> None:
    """The worker: says of each whether it was that picture and no other."""
    view = ArenaView.attach(handle)
    while (promise := promises.get()) is not None:
        key, span = promise
        into = bytearray(span.length)
        view.read(span, memoryview(into))
        told.put((key, into == bytes([int(key[:2], 16)]) * span.length))


def test_a_worker_reads_what_was_promised_whatever_else_goes_on_and_no_memory_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "ABSENT_S", 0.01)
    monkeypatch.setattr(host_memory, "GRACE_S", 0.02)
    arena = Arena.create(40 * PAGE_BYTES, "engine", [tmp_path])
    disk, shared = Slow(), Slow(*(embedding(name, ROWS[name]) for name in NAMES), name="shared")
    promoting = WriteBehind([disk], NAMESPACE, 1 << 22)
    looking = Lookups(arena, [disk, shared], wait_s=0.05, ttl_s=2, offer=promoting.offer)
    spawn = multiprocessing.get_context("spawn")
    promises: SimpleQueue[Promise | None] = spawn.SimpleQueue()
    told: SimpleQueue[tuple[str, bool]] = spawn.SimpleQueue()
    worker = spawn.Process(target=read, args=(arena.handle, promises, told))
    worker.start()
    over = threading.Event()

    def forget() -> None:
        while not over.wait(0.03):
            looking.forget(key_of(random.choice(NAMES)))

    def look() -> None:
        while not over.wait(0.0005):
            looking.look(key_of(random.choice(NAMES)))

    others = [threading.Thread(target=target) for target in (forget, look, look)]
    for other in others:
        other.start()
    under_way = right = 0
    while right < READS:
        for key in map(key_of, random.sample(NAMES, 6)):
            looking.look(key)
            held = looking.pin(key)
            if held is not None:
                promises.put((key, held.span))
                under_way += 1
        while under_way > 4 or (under_way and random.random() < 0.5):
            key, was_right = told.get()
            assert was_right
            looking.unpin(key, loaded=random.random() < 0.8)
            under_way, right = under_way - 1, right + 1
        time.sleep(0.001)
    over.set()
    for other in others:
        other.join()
    for _ in range(under_way):
        looking.unpin(told.get()[0])
    promises.put(None)
    worker.join()
    assert looking.figures.evicted > 0
    assert looking.close(10)
    assert promoting.close(10)
    for name in NAMES:
        looking.forget(key_of(name))
    assert (looking.figures.entries, looking.figures.bytes_held, looking.figures.bytes_pinned) == (0, 0, 0)
    looking._memory._free_leaving()
    assert arena._free.pages == arena._grown
    arena.close()
