"""A program: writers and readers of one folder of embeddings, each a process; writers are killed at random points.

Prints one JSON object with what was seen. Exits with 1 if a reader was ever served a wrong picture.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from server.engine.encoder_cache.entry import Embedding, key_of, pack
from server.engine.encoder_cache.folder_layout import entries, namespaces, parts
from server.engine.encoder_cache.folder_tier import FolderTier
from server.engine.encoder_cache.ledger import open_ledger
from tests.unit.engine.encoder_cache.folders import NAMESPACE, embedding_of, has, size_of

# All in a sixteenth of the folders, so that a part is seen while it is there.
NAMES = [name for name in (f"picture {number}" for number in range(2400)) if key_of(name).startswith("0")]
ROWS = 2048
CAPACITY = 100 * size_of(ROWS)
WRITERS, READERS = 3, 2
LONGEST_LIFE_S = 0.03
LONGEST_WATCH_S = 0.1


def fork(work: Callable[[], None]) -> int:
    """The child's id. It ends with 0 only if the work did not raise."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.nice(5)  # Who kills comes first.
        work()
        code = 0
    except AssertionError as problem:
        print(problem, file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def write_until_killed(root: Path, packed: list[tuple[Embedding, bytes]], seed: int) -> None:
    tier, chance = FolderTier(root, NAMESPACE, CAPACITY), random.Random(seed)
    while True:
        embedding, header = chance.choice(packed)
        tier.put(embedding.key, header, embedding.data)
        assert tier.figures.failures.keys() <= {"busy"}, tier.figures


def read_until_told(root: Path, seed: int, told: Path) -> None:
    tier, chance = FolderTier(root, NAMESPACE, CAPACITY), random.Random(seed)
    while not told.exists():
        has(tier, chance.choice(NAMES), ROWS)
    assert sum(tier.figures.bad.values()) == 0, tier.figures
    assert tier.figures.hits > 0, tier.figures


def bytes_now(root: Path) -> tuple[int, int]:
    """What lies there, and what the ledger says, with nobody able to reserve more meanwhile."""
    with open_ledger(str(root), 10) as ledger:
        sizes = {}
        for namespace in namespaces(str(root)):
            paths = [each.path for each in entries(str(root), namespace)]
            for path in (*paths, *(part.path for part in parts(str(root), namespace))):
                try:
                    status = os.stat(path)
                except FileNotFoundError:
                    continue  # Just put in place: it is or will be met under its name, or was already.
                sizes[status.st_ino] = status.st_size
        sums = ledger.read()
    return sum(sizes.values()), sums.used_bytes if sums else 0


def left_by(root: Path, writer: int) -> int:
    return sum(f".{writer}-" in part.name for part in parts(str(root), NAMESPACE))


def caught_writing(root: Path, writers: list[int]) -> int:
    """One that has a part under way, if any is seen to."""
    deadline = time.monotonic() + LONGEST_WATCH_S
    while time.monotonic() < deadline:
        for part in parts(str(root), NAMESPACE):
            writer = int(part.name.split(".")[1].split("-")[0])
            if writer in writers:
                return writer
    return writers[0]


def run(root: Path, kills: int, seed: int) -> dict[str, int]:
    chance = random.Random(seed)
    packed = [(each, pack(each, NAMESPACE)[0]) for each in (embedding_of(name, ROWS) for name in NAMES)]
    told = root.with_name("told")

    def writer() -> int:
        own_seed = chance.getrandbits(32)
        return fork(lambda: write_until_killed(root, packed, own_seed))

    readers = [fork(lambda seed=seed: read_until_told(root, seed, told)) for seed in range(READERS)]
    writers = [writer() for _ in range(WRITERS)]
    torn = most = understated = died = 0
    for number in range(kills + WRITERS):
        time.sleep(chance.uniform(0, LONGEST_LIFE_S))
        victim = caught_writing(root, writers) if number % 2 else chance.choice(writers)
        writers.remove(victim)
        os.kill(victim, signal.SIGKILL)
        died += os.waitpid(victim, 0)[1] != signal.SIGKILL
        torn += left_by(root, victim)
        if number % 10 == 0:
            held, stated = bytes_now(root)
            most, understated = max(most, held), understated + (held > stated)
        if number < kills:
            writers.append(writer())
    told.touch()
    failed = sum(os.waitpid(reader, 0)[1] != 0 for reader in readers)
    return {"torn": torn, "most": most, "understated": understated, "died": died, "readers_failed": failed}


def settle(root: Path) -> dict[str, int]:
    """What the next engine finds."""
    tier = FolderTier(root, NAMESPACE, CAPACITY)
    tier.close()
    with open_ledger(str(root), 1):
        (root / "ledger").write_bytes(b"")
    tier.tidy()
    found = sum(has(tier, name, ROWS) for name in NAMES)
    return {
        "found": found,
        "entries": tier.figures.entries,
        "held": tier.figures.bytes_held,
        "bad": sum(tier.figures.bad.values()),
        "parts": sum(1 for _ in parts(str(root), NAMESPACE)),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    seen = run(folder, kills=int(sys.argv[2]), seed=int(sys.argv[3]))
    print(json.dumps({**seen, **settle(folder)}))
    sys.exit(seen["readers_failed"] > 0)
