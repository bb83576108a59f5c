import json
import os
import stat
import time
from pathlib import Path

import pytest

from server.engine.encoder_cache import tower_digests
from server.engine.encoder_cache.checkpoint import NoFingerprint
from server.engine.encoder_cache.tower_digests import NAME, digest_sight
from tests.unit.engine.encoder_cache.toy_checkpoint import SIGHT, flip, give_old_times, write_toy


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose tensors were hashed; files count as old enough at once."""
    names: list[str] = []
    real = tower_digests.digest_tensors

    def digest_tensors(path: Path, *args: object) -> object:
        names.append(path.name)
        return real(path, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(tower_digests, "digest_tensors", digest_tensors)
    monkeypatch.setattr(tower_digests, "RACY_S", -1.0)
    return names


def digests(folder: Path, cache: Path | None = None, **options: object) -> dict[str, str]:
    found = digest_sight(folder, "qwen3_5", bool(options.get("prunes")), cache or folder.parent / "cache")
    return {tensor.name: digest for tensor, digest in found}


def test_a_second_look_hashes_nothing(tmp_path: Path, hashed: list[str]) -> None:
    folder = write_toy(tmp_path / "m")
    first = digests(folder)
    assert first.keys() == SIGHT.keys()
    assert digests(folder) == first
    assert hashed == ["model.safetensors"]
    assert stat.S_IMODE((folder / NAME).stat().st_mode) == 0o644
    assert sorted(path.name for path in folder.iterdir() if "vision" in path.name) == [NAME]


def test_only_the_file_that_changed_is_hashed_again(tmp_path: Path, hashed: list[str]) -> None:
    folder = write_toy(tmp_path / "m", shards=2)
    before = digests(folder)
    (where,) = [path for path in folder.glob("*.safetensors") if b"SEEN" in path.read_bytes()]
    flip(where, b"SEEN")
    after = digests(folder)
    changed = [name for name in before if before[name] != after[name]]
    assert changed == ["model.visual.patch_embed.proj.weight"]
    assert hashed[2:] == [where.name]


def test_other_weights_under_the_same_name_size_and_modification_time_are_hashed(
    tmp_path: Path, hashed: list[str]
) -> None:
    """As in images that are built with one time for all files."""
    folder = write_toy(tmp_path / "m")
    path = folder / "model.safetensors"
    give_old_times(path)
    before = digests(folder)
    flip(path, b"SEEN")
    give_old_times(path)
    assert digests(folder) != before
    assert len(hashed) == 2


def test_what_was_written_just_now_is_not_remembered(tmp_path: Path) -> None:
    """Written again within one tick of the file system's clock, it would look the same."""
    folder = write_toy(tmp_path / "m")
    digests(folder)
    assert json.loads((folder / NAME).read_bytes())["files"] == {}


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: '{"files": 1, "sum": 2}',
        lambda text: text.replace('"tensors": {"', '"tensors": {"x'),
    ],
)
def test_a_damaged_note_is_as_good_as_none(tmp_path: Path, hashed: list[str], damage: object) -> None:
    folder = write_toy(tmp_path / "m")
    before = digests(folder)
    note = folder / NAME
    note.write_text(damage(note.read_text()))  # type: ignore[operator]
    assert digests(folder) == before
    assert len(hashed) == 2
    assert digests(folder) == before
    assert len(hashed) == 2


def test_the_note_of_another_checkpoint_is_not_believed(tmp_path: Path, hashed: list[str]) -> None:
    ours, theirs = write_toy(tmp_path / "a"), write_toy(tmp_path / "b", **{next(iter(SIGHT)): b"else"})
    wanted = digests(ours)
    digests(theirs)
    (ours / NAME).write_bytes((theirs / NAME).read_bytes())
    assert digests(ours) == wanted
    assert len(hashed) == 3


def test_a_note_that_lacks_a_tensor_is_made_anew(tmp_path: Path, hashed: list[str]) -> None:
    folder = write_toy(tmp_path / "m")
    assert len(digests(folder)) == 2
    assert len(digests(folder, prunes=True)) == 3
    assert len(hashed) == 2


def test_where_the_checkpoint_cannot_be_written_the_note_is_kept_elsewhere(
    tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_toy(tmp_path / "m")
    (folder / NAME).mkdir()  # as good as read-only, for root, too
    first = digests(folder)
    (kept,) = (tmp_path / "cache").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o644
    assert digests(folder) == first
    assert len(hashed) == 1
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_where_nothing_can_be_written_it_is_hashed_each_time(tmp_path: Path, hashed: list[str]) -> None:
    folder = write_toy(tmp_path / "m")
    (folder / NAME).mkdir()
    (tmp_path / "cache").write_text("no folder")
    assert digests(folder) == digests(folder)
    assert len(hashed) == 2


def test_a_file_that_is_changed_while_it_is_read_has_no_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_toy(tmp_path / "m")
    real = tower_digests.digest_tensors

    def digest_tensors(path: Path, *args: object) -> object:
        found = real(path, *args)  # type: ignore[arg-type]
        os.utime(path, (1, 1))
        return found

    monkeypatch.setattr(tower_digests, "digest_tensors", digest_tensors)
    with pytest.raises(NoFingerprint, match="was changed while it was read"):
        digests(folder)


def test_a_link_to_nothing_has_no_fingerprint(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("gone")
    with pytest.raises(NoFingerprint):
        digests(folder)


def test_records_are_of_files_old_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_toy(tmp_path / "m")
    later = time.time() + 3
    monkeypatch.setattr(time, "time", lambda: later)
    digests(folder)
    assert list(json.loads((folder / NAME).read_bytes())["files"]) == ["model.safetensors"]
