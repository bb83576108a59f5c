import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from server.engine.encoder_cache import arena_file
from server.engine.encoder_cache.arena import Arena
from server.engine.encoder_cache.arena_view import PAGE_BYTES

Room = namedtuple("Room", "f_bavail f_frsize")
MIB = 1 << 20


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[Path, int]:
    """Free bytes by folder."""
    free: dict[Path, int] = {}
    monkeypatch.setattr("os.statvfs", lambda folder: Room(free[folder] // 4096, 4096))
    for name in ("shm", "cache"):
        (tmp_path / name).mkdir()
        free[tmp_path / name] = 0
    return free


def test_the_first_folder_is_taken_where_it_has_room_and_half_of_what_is_free_is_left(
    places: dict[Path, int], caplog: pytest.LogCaptureFixture
) -> None:
    shm, cache = places
    places.update({shm: 2048 * MIB, cache: 9000 * MIB})
    assert arena_file.choose([shm, cache], 1024 * MIB) == (shm, 1024 * MIB)
    assert not caplog.records


def test_less_than_was_asked_for_is_used_where_it_is_enough_and_said(
    places: dict[Path, int], caplog: pytest.LogCaptureFixture
) -> None:
    shm, cache = places
    places.update({shm: 600 * MIB, cache: 9000 * MIB})
    assert arena_file.choose([shm, cache], 1024 * MIB) == (shm, 300 * MIB)
    assert "300 MiB in" in caplog.text


def test_dockers_64_mb_are_passed_over_for_another_folder_and_it_is_said(
    places: dict[Path, int], caplog: pytest.LogCaptureFixture
) -> None:
    shm, cache = places
    places.update({shm: 64 * MIB, cache: 9000 * MIB})
    assert arena_file.choose([shm, cache], 1024 * MIB) == (cache, 1024 * MIB)
    assert "where 32 MiB can be had" in caplog.text


def test_the_roomiest_is_taken_where_none_has_enough(places: dict[Path, int]) -> None:
    shm, cache = places
    places.update({shm: 64 * MIB, cache: 32 * MIB})
    assert arena_file.choose([shm, cache], 1024 * MIB) == (shm, 32 * MIB)


def test_a_folder_that_is_not_there_has_no_room(tmp_path: Path) -> None:
    assert arena_file.room_in(tmp_path / "absent") == 0
    assert arena_file.room_in(tmp_path) > 0


def test_two_engines_of_one_name_do_not_meet(tmp_path: Path) -> None:
    one, two = (Arena.create(PAGE_BYTES, "same/../engine", [tmp_path]) for _ in range(2))
    assert one.handle != two.handle
    assert {Path(arena.handle).parent for arena in (one, two)} == {tmp_path}
    one.close()
    two.close()


def test_what_a_killed_engine_left_is_removed_at_the_next_start_and_nothing_else(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from server.engine.encoder_cache.arena import Arena\n"
        f"Arena.create({PAGE_BYTES}, 'killed', [Path(sys.argv[1])])\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    alive = Arena.create(PAGE_BYTES, "alive", [tmp_path])
    (tmp_path / "fovea-embeddings-notes.txt").touch()
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert len(list(tmp_path.glob("*killed*"))) == 1
    new = Arena.create(PAGE_BYTES, "new", [tmp_path])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [Path(alive.handle).name, Path(new.handle).name, "fovea-embeddings-notes.txt"]
    )
    alive.close()
    new.close()


def test_a_sweeper_that_comes_before_the_lock_costs_a_name_and_not_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = arena_file._lock
    calls: list[int] = []

    def swept_before(fd: int) -> bool:
        calls.append(fd)
        if len(calls) == 1:
            next(tmp_path.iterdir()).unlink()
        return lock(fd)

    monkeypatch.setattr(arena_file, "_lock", swept_before)
    fd, path = arena_file.create(tmp_path, "engine", PAGE_BYTES)
    assert len(calls) == 2
    assert os.fstat(fd).st_ino == path.stat().st_ino
    os.close(fd)


def test_a_link_in_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.touch()
    link = tmp_path / "fovea-embeddings-x-0.arena"
    link.symlink_to(target)
    assert arena_file.sweep(tmp_path) == 0
    assert target.exists()
