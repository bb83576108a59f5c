"""Says what one look-up and one store of an embedding take while so many are kept, as JSON: sizes, folder, rounds.

A script of its own, like `gateway/scraped.py`: what it measures lives in the engine, of which it knows names alone.
Thread clocks, so that the folder's janitor is in none of it but where it is asked for itself.
"""

import hashlib
import json
import pkgutil
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CACHE = "server.engine.encoder_cache"
NAMESPACE = "ab" * 32
# An embedding of 64 rows; what is kept is what counts here, not how large it is.
SHAPE, DTYPE = (64, 64), "bfloat16"
BYTES = 64 * 64 * 2
HEADER_BYTES, PAGE_BYTES = 256, 64 << 10
BLOCK = 200
# Of a full folder, so many new entries have room made twice, by sweeps that free a twentieth of it.
SWEPT_PART = 10
MOST_PAGES = 16


def find(place: str) -> Any:
    return pkgutil.resolve_name(f"{CACHE}.{place}")


def key_of(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


def make_embedding(number: int) -> Any:
    data = number.to_bytes(8, "big") * (BYTES // 8)
    return find("entry:Embedding")(key_of(number), SHAPE, DTYPE, "raw", memoryview(data), time.time())


def cpu_us(work: Callable[[], None], units: float) -> float:
    began = time.thread_time()
    work()
    return (time.thread_time() - began) * 1e6 / units


class Memory:
    """Host memory, full: what is put has the oldest leave. Its clock moves a minute with each that is put, so that
    none is too young to leave."""

    def __init__(self, size: int) -> None:
        self._now = 0.0
        self._arena = find("arena:Arena").create(size * PAGE_BYTES, f"bench-{size}")
        self._memory = find("host_memory:HostMemory")(self._arena, lambda: self._now)
        self.size, self._next = size, 0
        self.store(size)
        self._chance = random.Random(size)

    def store(self, count: int) -> None:
        for _ in range(count):
            self._now += 60
            key, found = key_of(self._next), make_embedding(self._next)
            span = self._memory.put(key, found)
            if span is None:
                raise RuntimeError("host memory took nothing")
            self._memory.publish(key, found, span, "disk", 1e12)
            self._next += 1

    def some(self, count: int) -> list[str]:
        """Keys of what is held: the order in which they leave is not that in which they came."""
        keys = [key_of(number) for number in range(self._next) if self._memory.held(key_of(number)) is not None]
        return self._chance.choices(keys, k=count)

    def look_up(self, keys: list[str]) -> None:
        """As for a step: asked for, promised, loaded, let go."""
        for key in keys:
            if self._memory.held(key) is None or self._memory.pin(key) is None:
                raise RuntimeError("host memory holds it no more")
            self._memory.unpin(key, True)

    def tidy(self) -> None:
        self._memory.tidy()

    def close(self) -> None:
        self._memory.close(1)
        self._arena.close()


class Folder:
    """A folder that is full; what is put has room made for it."""

    def __init__(self, root: Path, size: int) -> None:
        self._root = str(root)
        self._tier = find("folder_tier:FolderTier")(root, NAMESPACE, size * (BYTES + HEADER_BYTES))
        self.size, self._next = size, 0
        self.store(size)
        self._chance = random.Random(size)

    def store(self, count: int) -> None:
        pack = find("entry:pack")
        for _ in range(count):
            header, payload = pack(make_embedding(self._next), NAMESPACE)
            if not self._tier.put(key_of(self._next), header, payload):
                raise RuntimeError("the folder took nothing")
            self._next += 1

    def some(self, count: int) -> list[str]:
        keys = [key_of(number) for number in range(self._next) if self._tier.get(key_of(number)) is not None]
        return self._chance.choices(keys, k=count)

    def look_up(self, keys: list[str]) -> None:
        if any(self._tier.get(key) is None for key in keys):
            raise RuntimeError("the folder holds it no more")

    def scan(self) -> int:
        """As at the start, and each minute by one engine of all that share it."""
        tally = find("janitor:count_all")(self._root, time.time())
        return len(tally.there)

    def close(self) -> None:
        self._tier.close()


class Pages:
    """The arena's free pages when embeddings of many sizes have come and gone."""

    def __init__(self, size: int) -> None:
        self._chance = random.Random(size)
        self._free = find("free_pages:FreePages")()
        pages = size * (MOST_PAGES + 1) // 2
        self._free.give(0, pages)
        self._kept: list[tuple[int, int]] = []
        self.size = size
        self.churn(4 * size)

    def churn(self, count: int) -> None:
        """One comes, and as many leave as it needs."""
        for _ in range(count):
            wanted = self._chance.randint(1, MOST_PAGES)
            while self._free.pages < wanted:
                index = self._chance.randrange(len(self._kept))
                self._kept[index], self._kept[-1] = self._kept[-1], self._kept[index]
                self._free.give(*self._kept.pop())
            run = self._free.take_run(wanted)
            self._kept += [run] if run else self._free.take_scattered(wanted)


def rounds_of(subjects: list[Any], measure: Callable[[Any], float], rounds: int) -> list[list[float]]:
    """The sizes take turns; who begins changes; the first round is to warm up."""
    found = []
    for number in range(rounds + 1):
        first = number % len(subjects)
        costs = {subject.size: 0.0 for subject in subjects}
        for subject in (*subjects[first:], *subjects[:first]):
            costs[subject.size] = measure(subject)
        found.append([*costs.values()])
    return found[1:]


def measure_all(sizes: list[int], root: Path, rounds: int) -> Iterator[tuple[str, list[list[float]]]]:
    memories = [Memory(size) for size in sizes]
    yield "memory look-up", rounds_of(memories, looking_up(memories), rounds)
    yield "memory store", rounds_of(memories, lambda each: cpu_us(lambda: each.store(BLOCK), BLOCK), rounds)
    yield "memory tidy", rounds_of(memories, lambda each: cpu_us(each.tidy, 1), rounds)
    for memory in memories:
        memory.close()
    pages = [Pages(size) for size in sizes]
    yield "memory pages", rounds_of(pages, lambda each: cpu_us(lambda: each.churn(BLOCK), BLOCK), rounds)
    folders = [Folder(root / str(size), size) for size in sizes]
    yield "folder look-up", rounds_of(folders, looking_up(folders), rounds)
    yield "folder store", rounds_of(folders, store_in, rounds)
    yield "folder scan", rounds_of(folders, lambda each: cpu_us(each.scan, each.size), rounds)
    for folder in folders:
        folder.close()


def looking_up(subjects: list[Any]) -> Callable[[Any], float]:
    """The same keys again and again: those that are held now."""
    keys = {subject: subject.some(BLOCK) for subject in subjects}
    return lambda each: cpu_us(lambda: each.look_up(keys[each]), BLOCK)


def store_in(folder: Folder) -> float:
    count = max(1, folder.size // SWEPT_PART)
    return cpu_us(lambda: folder.store(count), count)


def main() -> None:
    sizes, root, rounds = json.loads(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    print(json.dumps(dict(measure_all(sizes, root, rounds))))


if __name__ == "__main__":
    main()
