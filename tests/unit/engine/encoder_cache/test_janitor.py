import os
import time
from pathlib import Path

from server.engine.encoder_cache.entry import key_of
from server.engine.encoder_cache.folder_writing import Place, make_part
from server.engine.encoder_cache.janitor import Swept, sweep
from server.engine.encoder_cache.ledger import open_ledger
from tests.unit.engine.encoder_cache.folders import (
    NAMESPACE,
    OTHER,
    bytes_in,
    files,
    folder_tier,
    has,
    put,
    size_of,
)


def swept(root: Path, capacity: int = 1 << 20, room: int = 0) -> Swept:
    with open_ledger(str(root), 1) as ledger:
        return sweep(str(root), ledger, capacity, room)


def test_what_is_counted_is_what_lies_there(tmp_path: Path) -> None:
    assert swept(tmp_path).sums.used_bytes == 0
    with folder_tier(tmp_path) as tier:
        for number in range(5):
            put(tier, str(number), rows=number + 1)
        assert has(tier, "3")
    sums = swept(tmp_path).sums
    assert (sums.used_bytes, sums.entries) == (bytes_in(tmp_path), 5)


def test_a_sweep_makes_room_and_a_twentieth_more(tmp_path: Path) -> None:
    with folder_tier(tmp_path) as tier:
        for number in range(100):
            put(tier, str(number))
    full = 100 * size_of(4)
    assert swept(tmp_path, full).evicted == 0
    result = swept(tmp_path, full, room=size_of(4))
    assert result.evicted == 5
    assert result.sums.used_bytes == bytes_in(tmp_path) == 95 * size_of(4)


def test_a_part_counts_while_its_writer_lives_and_goes_with_it(tmp_path: Path) -> None:
    place = Place(str(tmp_path), NAMESPACE, 1 << 20, None)
    fd, path = make_part(place, key_of("cat"), 5000)
    os.utime(path, (0, 0))
    assert swept(tmp_path).sums.used_bytes == 5000
    assert Path(path).stat().st_mode & 0o777 == 0o600
    os.close(fd)  # As the end of a process does.
    assert swept(tmp_path).sums.used_bytes == 0
    assert files(tmp_path, "*.part") == []


def test_what_nobody_of_ours_wrote_is_neither_counted_nor_removed(tmp_path: Path) -> None:
    with folder_tier(tmp_path) as tier:
        put(tier, "cat")
    shard = files(tmp_path)[0].parent
    theirs = [shard / "notes.txt", shard / "cat.emb", tmp_path / "README", shard.parent / f"{key_of('x')}.emb"]
    for path in theirs:
        path.write_bytes(bytes(10_000))
    (tmp_path / "A" / "new" / "aa").mkdir(parents=True)
    result = swept(tmp_path, capacity=100, room=10)
    assert (result.evicted, result.sums.used_bytes, result.sums.entries) == (1, 0, 0)
    assert all(path.exists() for path in theirs)


def test_what_was_not_hit_within_its_time_to_live_goes_from_its_own_namespace(tmp_path: Path) -> None:
    long_ago = time.time() - 200
    for namespace in (NAMESPACE, OTHER):
        with folder_tier(tmp_path, namespace=namespace) as tier:
            for name in ("new", "hit", "young"):
                put(tier, name)
            assert has(tier, "hit")
    for path in files(tmp_path):
        if path.stem != key_of("young"):
            os.utime(path, (long_ago, long_ago))
    with folder_tier(tmp_path, ttl_s=100) as tier:
        tier.tidy()
        assert {path.stem for path in files(tmp_path / NAMESPACE[:16])} == {key_of("young")}
        assert len(files(tmp_path / OTHER[:16])) == 3


def test_what_is_left_of_a_tower_that_nobody_uses_goes_once_its_entries_have(tmp_path: Path) -> None:
    with folder_tier(tmp_path, namespace=OTHER) as tier:
        put(tier, "cat")
    folder = tmp_path / OTHER[:16]

    def sweep_later() -> None:
        long_ago = time.time() - 7200
        for path in (folder / "used", folder):
            if path.exists():
                os.utime(path, (long_ago, long_ago))
        swept(tmp_path)

    sweep_later()
    assert (folder / "used").exists()
    files(tmp_path)[0].unlink()
    os.utime(folder)
    swept(tmp_path)  # As if an engine were making it at this moment.
    assert (folder / "used").exists()
    (folder / "theirs").write_bytes(b"")
    sweep_later()
    assert [path.name for path in folder.iterdir()] == ["theirs"]
    (folder / "theirs").unlink()
    sweep_later()
    assert not folder.exists()


def test_one_of_the_engines_sweeps_each_minute(tmp_path: Path) -> None:
    with folder_tier(tmp_path) as tier, folder_tier(tmp_path) as neighbour:
        tier.close()
        neighbour.close()

        def swept_s() -> float:
            with open_ledger(str(tmp_path), 1) as ledger:
                sums = ledger.read()
                assert sums is not None
                return sums.swept_s

        first = swept_s()
        tier.tidy()
        neighbour.tidy()
        assert swept_s() == first
        with open_ledger(str(tmp_path), 1) as ledger:
            sums = ledger.read()
            assert sums is not None
            ledger.write(type(sums)(sums.used_bytes, sums.entries, sums.capacity_bytes, first - 61))
        neighbour.tidy()
        assert swept_s() > first
