"""What a folder of embeddings promises while nothing goes wrong."""

import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from server.engine.encoder_cache.entry import Embedding, key_of, pack
from server.engine.encoder_cache.folder_layout import entry_path
from server.engine.encoder_cache.folder_tier import FolderTier
from server.engine.encoder_cache.tier import Tier
from tests.unit.engine.encoder_cache.folders import (
    NAMESPACE,
    OTHER,
    bytes_in,
    embedding_of,
    files,
    folder_tier,
    has,
    put,
    size_of,
)


def shelf_of(root: Path, name: str) -> str:
    (path,) = [each for each in files(root) if each.stem == key_of(name)]
    return path.parent.parent.name


def test_what_is_put_is_got_also_by_the_next_process(tmp_path: Path) -> None:
    with folder_tier(tmp_path) as tier:
        promised: Tier = tier
        assert promised.get(key_of("cat")) is None
        assert put(tier, "cat")
        assert has(tier, "cat")
        assert not has(tier, "dog")
        assert (tier.figures.hits, tier.figures.misses) == (1, 2)
        assert tier.figures.bytes_read == tier.figures.bytes_written == 4 * 128
        assert (tier.figures.entries, tier.figures.bytes_held) == (1, size_of(4))
    with folder_tier(tmp_path) as next_one:
        assert has(next_one, "cat")


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    root = tmp_path / "made" / "here"
    before = os.umask(0)
    try:
        with folder_tier(root) as tier:
            assert put(tier, "cat")
            assert has(tier, "cat")
            assert tier.forget(key_of("dog"))
    finally:
        os.umask(before)
    for path in (root, *root.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_the_first_hit_moves_an_entry_among_what_is_kept_and_it_is_found_there(tmp_path: Path) -> None:
    with folder_tier(tmp_path) as tier:
        put(tier, "cat")
        assert shelf_of(tmp_path, "cat") == "new"
        assert has(tier, "cat")
        assert shelf_of(tmp_path, "cat") == "kept"
        assert has(tier, "cat")


def test_a_hit_is_noted_once_a_minute(tmp_path: Path) -> None:
    with folder_tier(tmp_path) as tier:
        put(tier, "cat")
        assert has(tier, "cat")
        (path,) = files(tmp_path)
        for ago, is_noted in ((30, False), (90, True)):
            then = time.time() - ago
            os.utime(path, (then, then))
            assert has(tier, "cat")
            assert (path.stat().st_mtime > then + 1) == is_noted


def test_what_lies_there_already_is_not_written_again(tmp_path: Path) -> None:
    with folder_tier(tmp_path) as tier, folder_tier(tmp_path) as neighbour:
        assert put(tier, "cat")
        written = files(tmp_path)[0].stat().st_ino
        assert put(neighbour, "cat")
        assert neighbour.figures.bytes_written == 0
        assert [path.stat().st_ino for path in files(tmp_path)] == [written]


def test_what_lies_there_in_another_encoding_is_replaced_where_it_lies(tmp_path: Path) -> None:
    with folder_tier(tmp_path) as tier:
        put(tier, "cat")
        assert has(tier, "cat")
        squeezed = Embedding(key_of("cat"), (4, 64), "bfloat16", "fp8-row", memoryview(bytes(272)), time.time())
        header, payload = pack(squeezed, NAMESPACE)
        assert tier.put(key_of("cat"), header, payload)
        found = tier.get(key_of("cat"))
        assert found is not None
        assert found.encoding == "fp8-row"
        assert len(files(tmp_path)) == 1
        assert shelf_of(tmp_path, "cat") == "kept"


def test_what_is_put_must_be_what_its_header_says(tmp_path: Path) -> None:
    header, payload = pack(embedding_of("cat"), NAMESPACE)
    foreign, _ = pack(embedding_of("cat"), OTHER)
    with folder_tier(tmp_path) as tier:
        assert not tier.put(key_of("dog"), header, payload)
        assert not tier.put(key_of("cat"), foreign, payload)
        assert not tier.put(key_of("cat"), header, payload[:-1])
        assert not tier.put("../../cat", header, payload)
        assert tier.figures.failures == {"key": 2, "namespace": 1, "truncated": 1}
    assert files(tmp_path, "*.emb") == files(tmp_path, "*.part") == []


def test_the_folder_never_holds_more_than_its_capacity(tmp_path: Path) -> None:
    capacity = 10 * size_of(4)
    with folder_tier(tmp_path, capacity) as tier:
        for number in range(50):
            assert put(tier, f"picture {number}")
            assert bytes_in(tmp_path) <= capacity
            assert has(tier, f"picture {number}")
        assert tier.figures.evictions == 50 - len(files(tmp_path))
        assert tier.figures.bytes_held == bytes_in(tmp_path)
        assert len(files(tmp_path)) >= 9


def test_one_entry_takes_up_half_the_capacity_at_most(tmp_path: Path) -> None:
    with folder_tier(tmp_path, 4 * size_of(4)) as tier:
        assert put(tier, "half", rows=8)
        assert not put(tier, "more than half", rows=13)
        assert tier.figures.failures == {"full": 1}
        assert has(tier, "half", rows=8)


def test_a_scan_of_ten_times_the_capacity_displaces_nothing_that_is_hit(tmp_path: Path) -> None:
    capacity = 40 * size_of(4)
    loved = [f"loved {number}" for number in range(16)]
    with folder_tier(tmp_path, capacity) as tier:
        for name in loved:
            put(tier, name)
            assert has(tier, name)
        for number in range(400):
            assert put(tier, f"once {number}")
        assert sum(has(tier, name) for name in loved) == 16
        assert bytes_in(tmp_path) <= capacity


def test_what_comes_back_at_long_intervals_takes_the_place_of_what_was_loved_once(tmp_path: Path) -> None:
    capacity = 40 * size_of(4)
    with folder_tier(tmp_path, capacity) as tier:
        for number in range(40):
            put(tier, f"loved once {number}")
            assert has(tier, f"loved once {number}")
        hits = []
        for _ in range(6):
            hits.append(0)
            for number in range(20):  # Half the capacity, where what is new has a tenth.
                if has(tier, f"loved now {number}"):
                    hits[-1] += 1
                else:
                    assert put(tier, f"loved now {number}")
        assert (hits[0], hits[-1]) == (0, 20), hits


def test_other_towers_entries_go_first_unless_an_engine_uses_them(tmp_path: Path) -> None:
    capacity = 20 * size_of(4)
    with folder_tier(tmp_path, capacity, namespace=OTHER) as other, folder_tier(tmp_path, capacity) as tier:
        for number in range(10):
            assert put(other, f"old {number}")
            assert has(other, f"old {number}")
        for number in range(9):
            assert put(tier, f"mine {number}")
        other.tidy()
        assert put(tier, "one more")
        assert put(tier, "and one more")
        assert all(has(other, f"old {number}") for number in range(10))
        long_ago = time.time() - 7200
        os.utime(tmp_path / OTHER[:16] / "used", (long_ago, long_ago))
        before = len(files(tmp_path / NAMESPACE[:16]))
        for number in range(10):
            assert put(tier, f"more {number}")
        assert len(files(tmp_path / NAMESPACE[:16])) == before + 10
        assert len(files(tmp_path / OTHER[:16])) < 10


def test_what_is_older_than_its_time_to_live_is_a_miss_and_gone(tmp_path: Path) -> None:
    now = time.time()
    with folder_tier(tmp_path, ttl_s=100) as tier:
        assert put(tier, "young", created_s=now - 90)
        assert not put(tier, "old", created_s=now - 110)
        assert not put(tier, "of a clock that is wrong", created_s=now + 110)
        assert has(tier, "young")
    with folder_tier(tmp_path, ttl_s=80) as stricter:
        assert not has(stricter, "young")
        assert files(tmp_path) == []
        assert sum(stricter.figures.bad.values()) == 0


def test_readers_writers_and_forgetters_in_many_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    names = [f"picture {number}" for number in range(8)]
    with folder_tier(tmp_path, 5 * size_of(4)) as tier:

        def work(turn: int) -> None:
            name = names[turn * 5 % 8]
            if turn % 7 == 0:
                assert tier.forget(key_of(name))
            put(tier, name, created_s=time.time() + 3600)
            has(tier, name)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(400)))
        assert tier.figures.bad == {}
        assert tier.figures.failures == {}
        assert bytes_in(tmp_path) <= 5 * size_of(4)
        assert files(tmp_path, "*.part") == []


def test_a_folder_that_vanishes_is_made_again(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    with folder_tier(root) as tier:
        assert put(tier, "cat")
        root.rename(tmp_path / "elsewhere")
        assert not has(tier, "cat")
        assert put(tier, "cat")
        assert has(tier, "cat")
        assert tier.figures.bad == tier.figures.failures == {}


def test_closing_ends_the_thread_and_keeps_the_entries(tmp_path: Path) -> None:
    with folder_tier(tmp_path) as tier:
        put(tier, "cat")
    assert not tier.janitor.is_alive()
    assert Path(entry_path(str(tmp_path), NAMESPACE, "new", key_of("cat"))).exists()


def test_a_shared_folder_is_the_same_under_another_name(tmp_path: Path) -> None:
    tier = FolderTier(tmp_path, NAMESPACE, 1 << 20, None, "shared")
    tier.close()
    assert tier.name == "shared"
