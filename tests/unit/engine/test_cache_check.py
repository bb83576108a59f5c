import fcntl
import os
from pathlib import Path

import pytest

from server.engine.cache_check import ROOM_BYTES, refusal, takes_pictures, warning, why_unusable
from server.engine.cache_options import CacheOptions
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


def test_an_engine_does_not_start_without_its_folder(tmp_path: Path) -> None:
    assert refusal(CacheOptions(str(tmp_path / "kept")), "org/name", ()) == ""
    said = refusal(CacheOptions("/proc/nothing"), "org/name", ())
    assert said.startswith("cannot keep embeddings in /proc/nothing (No such file or directory): name another")


def test_an_engine_starts_without_the_shared_folder_and_says_so(tmp_path: Path) -> None:
    assert warning("/proc/shared").startswith("cannot share embeddings in /proc/shared (No such file or directory)")
    assert [warning(each) for each in ("", "redis://nobody:1", str(tmp_path))] == ["", "", ""]


@pytest.mark.parametrize(
    ("config", "options", "takes"),
    [
        ('{"vision_config": {}}', (), True),
        ('{"vision_config": {}}', ("--language_model_only",), False),
        ('{"model_type": "llama"}', (), False),
        ('{"mm_vision_tower": "a"}', (), True),
        (None, (), True),
    ],
)
def test_a_model_that_takes_no_pictures_is_known_by_its_config(
    tmp_path: Path, config: str | None, options: tuple[str, ...], takes: bool
) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    assert takes_pictures(str(tmp_path), options) is takes
    assert (refusal(CacheOptions(), str(tmp_path), options) == "") is takes
