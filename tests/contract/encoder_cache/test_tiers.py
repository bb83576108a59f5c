"""One suite over every tier: a folder, one that machines share, and Valkey. To look-ups they are all the same."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import pytest
import redis

from server.engine.encoder_cache.entry import HEADER_BYTES, Embedding, key_of
from server.engine.encoder_cache.folder_tier import FolderTier
from server.engine.encoder_cache.pins import pin, unpin
from server.engine.encoder_cache.redis_tier import RedisTier
from server.engine.encoder_cache.tier import Tier
from tests.contract.encoder_cache.entries import NAMESPACE, OTHER_NAMESPACE, embedding, entry
from tests.valkey import Valkey

SIZE = 16 * 32 * 2 + HEADER_BYTES
ROOM = 20 * SIZE


class Place(Protocol):
    """Where tiers keep entries, and how a test gets at those behind their back."""

    name: str

    def tier(self, namespace: str = NAMESPACE, room: int = ROOM, ttl_s: float | None = None) -> Tier: ...

    def pin(self, key: str) -> bool: ...

    def unpin(self, key: str) -> bool: ...

    def raw(self, key: str) -> bytes: ...

    def overwrite(self, key: str, raw: bytes) -> None: ...

    def held_bytes(self) -> int: ...

    def argument(self) -> str:
        """What opens it in another process."""
        ...


class FolderPlace:
    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name
        self._open: list[FolderTier] = []

    def tier(self, namespace: str = NAMESPACE, room: int = ROOM, ttl_s: float | None = None) -> Tier:
        opened = FolderTier(self.root, namespace, room, ttl_s, "shared" if self.name == "shared" else "disk")
        self._open.append(opened)
        return opened

    def pin(self, key: str) -> bool:
        try:
            return pin(str(self.root), NAMESPACE, key, ROOM)
        except OSError:
            return False

    def unpin(self, key: str) -> bool:
        return unpin(str(self.root), NAMESPACE, key)

    def raw(self, key: str) -> bytes:
        return next(self.root.rglob(f"{key}.emb")).read_bytes()

    def overwrite(self, key: str, raw: bytes) -> None:
        next(self.root.rglob(f"{key}.emb")).write_bytes(raw)

    def held_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.root.rglob("*.emb"))

    def argument(self) -> str:
        return str(self.root)

    def close(self) -> None:
        for each in self._open:
            each.close()


class StorePlace:
    name = "shared"

    def __init__(self, valkey: Valkey) -> None:
        self._url = valkey.url
        self._store = redis.Redis.from_url(valkey.url)

    def tier(self, namespace: str = NAMESPACE, room: int = ROOM, ttl_s: float | None = None) -> RedisTier:
        return RedisTier(self._url, namespace, room, ttl_s)

    def pin(self, key: str) -> bool:
        return self.tier().pin(key)

    def unpin(self, key: str) -> bool:
        return self.tier().unpin(key)

    def raw(self, key: str) -> bytes:
        return self._store.get(self._name(key)) or b""

    def overwrite(self, key: str, raw: bytes) -> None:
        self._store.set(self._name(key), raw)

    def held_bytes(self) -> int:
        return sum(self._store.strlen(name) for name in self._store.keys("fovea:embedding:????????????????:*"))

    def argument(self) -> str:
        return self._url

    def close(self) -> None:
        self._store.close()

    def _name(self, key: str) -> str:
        return f"fovea:embedding:{NAMESPACE[:16]}:{key}"


@pytest.fixture(params=["a folder", "a shared folder", "valkey"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made: FolderPlace | StorePlace
    if request.param == "valkey":
        made = StorePlace(request.getfixturevalue("valkey"))
    else:
        made = FolderPlace(tmp_path / "embeddings", "shared" if "shared" in request.param else "disk")
    try:
        yield made
    finally:
        made.close()


def is_right(found: Embedding | None, name: str) -> bool:
    if found is None:
        return False
    wanted = embedding(name)
    assert (found.key, found.shape, found.dtype, found.encoding) == (wanted.key, (16, 32), "bfloat16", "raw")
    assert found.data == wanted.data
    return True


def test_what_is_put_is_got_also_by_the_next_engine(place: Place) -> None:
    tier = place.tier()
    assert tier.name == place.name
    assert tier.get(key_of("a")) is None
    assert tier.put(*entry("a"))
    assert is_right(tier.get(key_of("a")), "a")
    tier.close()
    later = place.tier()
    assert is_right(later.get(key_of("a")), "a")
    assert later.get(key_of("b")) is None
    assert (later.figures.hits, later.figures.misses, later.figures.bytes_read) == (1, 1, SIZE - HEADER_BYTES)
    assert not later.figures.bad
    assert not later.figures.failures


def test_another_towers_entries_are_nobody_elses(place: Place) -> None:
    assert place.tier(OTHER_NAMESPACE).put(*entry("a", namespace=OTHER_NAMESPACE))
    assert place.tier().get(key_of("a")) is None


def test_what_is_there_is_not_written_again(place: Place) -> None:
    first, second = place.tier(), place.tier()
    assert first.put(*entry("a"))
    assert second.put(*entry("a"))
    assert (first.figures.bytes_written, second.figures.bytes_written) == (SIZE - HEADER_BYTES, 0)


def test_a_header_that_is_not_the_payload_s_is_refused(place: Place) -> None:
    tier = place.tier()
    key, header, payload = entry("a")
    assert not tier.put(key, header, payload[:-2])
    assert not tier.put(key_of("b"), header, payload)
    assert not tier.put(key, bytes(HEADER_BYTES), payload)
    assert not tier.put(*entry("c", namespace=OTHER_NAMESPACE))
    assert sum(tier.figures.failures.values()) == 4
    assert place.held_bytes() == 0


@pytest.mark.parametrize("key", ["", "..", "../" * 21 + "x", "A" * 64, "é" * 64, "a" * 63, "a" * 65, "a\n" * 32])
def test_what_is_no_key_is_a_miss(place: Place, key: str) -> None:
    tier = place.tier()
    assert tier.get(key) is None
    assert tier.forget(key)


def test_room_is_kept_and_a_scan_takes_nothing_from_what_is_hit(place: Place) -> None:
    tier = place.tier()
    hot = [f"hot {number}" for number in range(8)]
    for name in hot:
        assert tier.put(*entry(name))
        assert is_right(tier.get(key_of(name)), name)
    for number in range(200):
        assert tier.put(*entry(f"scanned {number}"))
        assert place.held_bytes() <= ROOM
    assert all(is_right(tier.get(key_of(name)), name) for name in hot)
    assert is_right(tier.get(key_of("scanned 199")), "scanned 199")
    assert tier.get(key_of("scanned 0")) is None
    assert tier.figures.evictions >= 200 - 12
    assert tier.figures.bytes_held == place.held_bytes()
    assert tier.figures.entries * SIZE == place.held_bytes()


def test_one_entry_takes_half_the_room_at_most(place: Place) -> None:
    tier = place.tier()
    assert tier.put(*entry("small"))
    assert not tier.put(*entry("large", tokens=200))
    assert is_right(tier.get(key_of("small")), "small")
    assert sum(tier.figures.failures.values()) == 1


def test_what_is_pinned_stays_and_half_the_room_can_be(place: Place) -> None:
    tier = place.tier()
    for number in range(20):
        assert tier.put(*entry(str(number)))
    pinned = [place.pin(key_of(str(number))) for number in range(12)]
    assert pinned == [True] * 10 + [False] * 2
    assert not place.pin(key_of("not there"))
    for number in range(60):
        assert tier.put(*entry(f"more {number}"))
        tier.get(key_of(f"more {number}"))
    assert all(is_right(tier.get(key_of(str(number))), str(number)) for number in range(10))
    assert all(place.unpin(key_of(str(number))) for number in range(10))
    for number in range(60):
        assert tier.put(*entry(f"still more {number}"))
        tier.get(key_of(f"still more {number}"))
    assert not any(tier.get(key_of(str(number))) for number in range(10))
    assert place.held_bytes() <= ROOM


def test_what_is_older_than_its_time_to_live_is_a_miss_and_goes(place: Place) -> None:
    """Also what an engine wrote that keeps entries for longer."""
    tier, for_ever = place.tier(ttl_s=3600), place.tier()
    assert for_ever.put(*entry("old", created_s=time.time() - 7200))
    assert tier.put(*entry("new"))
    assert tier.get(key_of("old")) is None
    assert is_right(tier.get(key_of("new")), "new")
    assert not tier.put(*entry("older", created_s=time.time() - 7200))
    assert place.held_bytes() == SIZE


def test_what_is_forgotten_stays_so_whoever_was_about_to_write_it(place: Place) -> None:
    first, second, other = place.tier(), place.tier(), place.tier(OTHER_NAMESPACE)
    began = time.time()
    under_way = entry("gone")
    assert first.put(*under_way)
    assert first.put(*entry("stays"))
    assert other.put(*entry("gone", namespace=OTHER_NAMESPACE))
    assert second.forget(key_of("gone"))
    assert second.forget(key_of("was never there"))
    for tier in (first, second, other):
        assert tier.get(key_of("gone")) is None
    assert not first.put(*under_way)
    assert not second.put(*under_way)
    assert first.get(key_of("gone")) is None
    assert is_right(second.get(key_of("stays")), "stays")
    for tier in (first, second, other):
        assert set(tier.forgotten_since(began)) == {key_of("gone"), key_of("was never there")}  # type: ignore[attr-defined]


def cut(raw: bytes) -> bytes:
    return raw[:-1]


def flip(raw: bytes) -> bytes:
    return raw[:700] + bytes([raw[700] ^ 1]) + raw[701:]


def lengthen(raw: bytes) -> bytes:
    return raw + b"\0"


def replace_by_zeros(raw: bytes) -> bytes:
    return bytes(len(raw))


def replace_by_nothing(raw: bytes) -> bytes:
    return b""


def replace_by_another(raw: bytes) -> bytes:
    _, header, payload = entry("another")
    return header + payload


def replace_by_another_towers(raw: bytes) -> bytes:
    _, header, payload = entry("a", namespace=OTHER_NAMESPACE)
    return header + payload


@pytest.mark.parametrize(
    "spoil",
    [cut, flip, lengthen, replace_by_zeros, replace_by_nothing, replace_by_another, replace_by_another_towers],
)
def test_what_is_not_the_entry_is_a_counted_miss_and_goes(place: Place, spoil: Callable[[bytes], bytes]) -> None:
    tier = place.tier()
    tier.put(*entry("a"))
    place.overwrite(key_of("a"), spoil(place.raw(key_of("a"))))
    assert tier.get(key_of("a")) is None
    assert sum(tier.figures.bad.values()) == 1
    assert place.held_bytes() == 0
    # The next engine that encodes the picture stores it.
    assert tier.put(*entry("a"))
    assert is_right(tier.get(key_of("a")), "a")


def test_a_next_versions_entry_is_left_to_it_until_one_of_ours_takes_its_place(place: Place) -> None:
    tier = place.tier()
    tier.put(*entry("a"))
    raw = place.raw(key_of("a"))
    place.overwrite(key_of("a"), raw[:8] + b"\x09" + raw[9:])
    assert tier.get(key_of("a")) is None
    assert tier.figures.bad == {"version": 1}
    assert place.held_bytes() == SIZE
    assert tier.put(*entry("a"))
    assert is_right(tier.get(key_of("a")), "a")


def test_many_threads_do_not_disturb_each_other(place: Place) -> None:
    tier = place.tier()

    def use(seed: int) -> int:
        chance, right = random.Random(seed), 0
        for _ in range(100):
            name = str(chance.randrange(40))
            if is_right(tier.get(key_of(name)), name):
                right += 1
            else:
                tier.put(*entry(name))
        return right

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(use, range(4))) > 50
    assert place.held_bytes() <= ROOM
    assert not tier.figures.bad
    assert not tier.figures.failures


ENGINE = """
import random, sys
from pathlib import Path
from server.engine.encoder_cache.folder_tier import FolderTier
from server.engine.encoder_cache.redis_tier import RedisTier
from tests.contract.encoder_cache.entries import NAMESPACE, embedding, entry

where, room, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
tier = RedisTier(where, NAMESPACE, room, None) if "://" in where else FolderTier(Path(where), NAMESPACE, room, None)
chance, right = random.Random(seed), 0
for _ in range(300):
    name = str(chance.randrange(40))
    key, header, payload = entry(name)
    found = tier.get(key)
    if found is None:
        tier.put(key, header, payload)
    else:
        assert found.data == payload
        right += 1
print(right, sum(tier.figures.bad.values()), flush=True)
tier.close()
"""


def test_two_engines_use_one_place(place: Place) -> None:
    """Neither ever finds anything wrong, and each finds what the other has written."""
    engines = [
        subprocess.Popen(
            [sys.executable, "-c", ENGINE, place.argument(), str(ROOM), str(seed)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=os.getcwd(),
        )
        for seed in range(2)
    ]
    said = [engine.communicate(timeout=120)[0].split() for engine in engines]
    assert [engine.returncode for engine in engines] == [0, 0]
    assert all(int(right) > 30 and bad == "0" for right, bad in said)
    assert place.held_bytes() <= ROOM
