import fcntl
import os
from pathlib import Path

import pytest

from server.engine.cache_folder import ROOM_BYTES, why_unusable
from server.engine.cache_options import CacheOptions
from server.engine.launch import LaunchError, check_cache
from tests.unit.engine.encoder_cache.folders import as_somebody_else, files, folder_tier, has, put, room_for


def test_a_folder_is_made_for_its_owner_alone_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert why_unusable(folder) == ""
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in folder.iterdir()] == ["ledger"]
    assert why_unusable(folder) == ""


def test_what_can_be_no_folder_of_embeddings_is_told_of_in_the_kernels_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "taken" / "ledger").mkdir(parents=True)
    reasons = {
        Path("/proc/nothing"): "No such file or directory",
        tmp_path / "file": "Not a directory",
        tmp_path / "file" / "below": "Not a directory",
        tmp_path / "taken": "Is a directory",
    }
    assert {folder: why_unusable(folder) for folder in reasons} == reasons


def test_a_folder_that_is_not_ours_cannot_be_used(tmp_path: Path) -> None:
    with folder_tier(tmp_path) as tier:
        assert put(tier, "cat")
    with as_somebody_else(tmp_path):
        assert why_unusable(tmp_path) == "Permission denied"


def test_a_full_disk_cannot_be_used_unless_something_is_kept_there_already(tmp_path: Path) -> None:
    with room_for(ROOM_BYTES - 1):
        assert why_unusable(tmp_path) == "File too large"
        with folder_tier(tmp_path) as tier:
            assert put(tier, "cat")
            assert why_unusable(tmp_path) == ""
            assert has(tier, "cat")
    assert len(files(tmp_path)) == 1


def test_a_folder_that_others_are_busy_with_can_be_used(tmp_path: Path) -> None:
    assert why_unusable(tmp_path) == ""
    held = os.open(tmp_path / "ledger", os.O_RDWR)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert why_unusable(tmp_path) == ""
    finally:
        os.close(held)


def test_an_engine_does_not_start_without_its_folder_and_does_without_the_shared_one(tmp_path: Path) -> None:
    said: list[str] = []
    check_cache(CacheOptions(str(tmp_path / "kept")), "/proc/shared", said.append)
    check_cache(CacheOptions(str(tmp_path / "kept")), "redis://nobody:1", said.append)
    (line,) = said
    assert line.startswith("cannot share embeddings in /proc/shared (No such file or directory)")
    with pytest.raises(LaunchError, match=r"/proc/nothing \(No such file .*name another --embedding-cache"):
        check_cache(CacheOptions("/proc/nothing"), "", said.append)
