"""Whatever lies where an entry should be is a miss that is counted, and never raises."""

import errno
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.engine.encoder_cache import folder_writing
from server.engine.encoder_cache.entry import key_of, pack
from server.engine.encoder_cache.folder_layout import SHELVES, Shelf, entry_path
from server.engine.encoder_cache.folder_tier import FolderTier
from tests.unit.engine.encoder_cache.folders import (
    NAMESPACE,
    OTHER,
    as_somebody_else,
    bytes_in,
    embedding_of,
    files,
    folder_tier,
    has,
    put,
    room_for,
    size_of,
)

KEY = key_of("cat")
DISK_BYTES = 256 << 10
FRESH_FOLDER_IS_NOT_NEEDED = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def tier(tmp_path: Path) -> Iterator[FolderTier]:
    """Its janitor is at rest: the tests call it themselves."""
    with folder_tier(tmp_path) as made:
        made.close()
        yield made


def place(tier: FolderTier, shelf: Shelf = "kept") -> Path:
    """Where the cat would lie, with the folders that lead there."""
    path = Path(entry_path(tier.place.root, NAMESPACE, shelf, KEY))
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def entry(name: str = "cat", namespace: str = NAMESPACE) -> bytes:
    header, payload = pack(embedding_of(name), namespace)
    return header + payload


def assert_miss(tier: FolderTier, reason: str) -> None:
    before = tier.figures.bad[reason]
    assert tier.get(KEY) is None
    assert tier.figures.bad[reason] == before + 1
    assert tier.figures.failures == {}


@FRESH_FOLDER_IS_NOT_NEEDED
@given(at=st.integers(0, 8 * size_of(4) - 1), shelf=st.sampled_from(SHELVES))
def test_a_bit_flipped_anywhere_is_a_counted_miss_and_the_file_goes(
    tier: FolderTier, at: int, shelf: Shelf
) -> None:
    raw = bytearray(entry())
    raw[at // 8] ^= 1 << at % 8
    path = place(tier, shelf)
    path.write_bytes(raw)
    bad = sum(tier.figures.bad.values())
    assert tier.get(KEY) is None
    assert sum(tier.figures.bad.values()) == bad + 1
    is_of_another_version = at // 8 in (8, 9)
    assert path.exists() == is_of_another_version
    path.unlink(missing_ok=True)


@FRESH_FOLDER_IS_NOT_NEEDED
@given(at=st.integers(0, size_of(4) - 1), run=st.binary(min_size=1, max_size=64))
def test_bytes_overwritten_anywhere_are_a_miss(tier: FolderTier, at: int, run: bytes) -> None:
    whole = entry()
    raw = (whole[:at] + run + whole[at + len(run) :])[: len(whole)]
    path = place(tier)
    path.write_bytes(raw)
    assert (tier.get(KEY) is not None) == (raw == whole)
    path.unlink(missing_ok=True)


@FRESH_FOLDER_IS_NOT_NEEDED
@given(length=st.integers(0, size_of(4) - 1))
def test_a_cut_anywhere_is_a_miss(tier: FolderTier, length: int) -> None:
    place(tier).write_bytes(entry()[:length])
    assert_miss(tier, "truncated")


@FRESH_FOLDER_IS_NOT_NEEDED
@given(more=st.binary(min_size=1, max_size=300))
def test_anything_appended_is_a_miss(tier: FolderTier, more: bytes) -> None:
    place(tier).write_bytes(entry() + more)
    assert_miss(tier, "truncated")


@FRESH_FOLDER_IS_NOT_NEEDED
@given(raw=st.binary(min_size=256, max_size=900))
def test_a_foreign_file_is_a_miss(tier: FolderTier, raw: bytes) -> None:
    place(tier).write_bytes(raw)
    assert_miss(tier, "foreign")


def test_a_torn_write_of_a_file_systems_crash_is_a_miss(tier: FolderTier) -> None:
    place(tier).write_bytes(entry()[:300] + bytes(size_of(4) - 300))
    assert_miss(tier, "checksum")


def test_another_pictures_entry_under_this_ones_name_is_a_miss(tier: FolderTier) -> None:
    place(tier).write_bytes(entry("dog"))
    assert_miss(tier, "key")


def test_another_towers_entry_is_a_miss(tier: FolderTier) -> None:
    place(tier).write_bytes(entry("cat", OTHER))
    assert_miss(tier, "namespace")
    near = NAMESPACE[:16] + OTHER[16:]
    place(tier).write_bytes(entry("cat", near))
    assert_miss(tier, "namespace")


def test_a_next_versions_entry_is_left_to_it(tier: FolderTier) -> None:
    raw = bytearray(entry())
    raw[8] = 2
    place(tier).write_bytes(raw)
    assert_miss(tier, "version")
    assert place(tier).exists()


def test_a_huge_file_is_refused_before_it_is_read(tier: FolderTier) -> None:
    with place(tier).open("wb") as file:
        file.write(entry()[:256])
        file.truncate(1 << 40)
    assert_miss(tier, "foreign")


def test_a_sparse_file_under_the_cap_is_refused_by_its_header(tier: FolderTier) -> None:
    with place(tier).open("wb") as file:
        file.write(entry()[:256])
        file.truncate(tier.place.largest_bytes)
    assert_miss(tier, "truncated")


def make_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # Its whole path is longer than a socket's may be.
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.mkdir(),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(path),
        lambda path: path.symlink_to(path.parent / "nowhere"),
        os.mkfifo,
        make_socket,
        pytest.param(
            lambda path: os.mknod(path, 0o20600, os.makedev(1, 5)),
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="SKIPPED: only root makes devices"),
        ),
    ],
    ids=["folder", "link to a device", "link to itself", "link to nothing", "FIFO", "socket", "device"],
)
def test_what_is_no_file_is_a_miss_at_once(tier: FolderTier, make: Callable[[Path], None]) -> None:
    path = place(tier)
    make(path)
    assert_miss(tier, "not_a_file")
    if not path.is_dir():
        assert not path.is_symlink()
        assert not path.exists()
        assert put(tier, "cat")
        assert has(tier, "cat")


def test_a_link_to_a_good_entry_elsewhere_is_not_followed_and_the_entry_stays(
    tier: FolderTier, tmp_path: Path
) -> None:
    aside = tmp_path / "aside"
    aside.write_bytes(entry())
    place(tier).symlink_to(aside)
    assert_miss(tier, "not_a_file")
    assert aside.exists()


def test_a_file_where_a_folder_should_be_is_a_miss_and_a_refused_write(tier: FolderTier) -> None:
    folder = place(tier, "new").parent
    folder.rmdir()
    folder.write_bytes(b"")
    assert_miss(tier, "not_a_file")
    assert not put(tier, "cat")
    assert put(tier, "dog")


def test_nothing_is_written_or_swept_through_a_linked_folder(tier: FolderTier, tmp_path: Path) -> None:
    aside = tmp_path / "aside"
    (aside / KEY[:2]).mkdir(parents=True)
    theirs = aside / KEY[:2] / f"{KEY}.emb"
    theirs.write_bytes(b"theirs")
    (tmp_path / NAMESPACE[:16] / "new").symlink_to(aside)
    (aside / KEY[:2] / f"{KEY}.1-a.part").write_bytes(b"theirs")
    (tmp_path / "ledger").write_bytes(b"broken: count anew")
    tier.tidy()
    assert sorted(path.read_bytes() for path in (aside / KEY[:2]).iterdir()) == [b"theirs", b"theirs"]
    assert not put(tier, "cat")
    assert not put(tier, "dog")
    assert [path.name for path in aside.iterdir()] == [KEY[:2]]


@pytest.mark.parametrize("key", ["", "a", "../" * 20 + "etc", KEY.upper(), KEY + "0", "\0" * 64, "é" * 64])
def test_what_is_no_key_is_a_miss(tier: FolderTier, key: str) -> None:
    assert tier.get(key) is None
    assert tier.forget(key)


def test_a_folder_that_is_not_ours_is_misses_and_refused_writes(tier: FolderTier, tmp_path: Path) -> None:
    assert put(tier, "cat")
    with as_somebody_else(tmp_path):
        assert tier.get(KEY) is None
        assert not put(tier, "dog")
        assert not tier.forget(KEY)
        assert tier.forgotten_since(0) == []
        tier.tidy()
    assert tier.figures.bad["permission"] >= 1
    assert tier.figures.failures["permission"] >= 3
    assert has(tier, "cat")


@contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """A file system of 256 KiB, where one can be mounted."""
    if os.geteuid() != 0:
        pytest.skip("SKIPPED: only root mounts")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "fovea-test", str(place)])
    if mounted.returncode:
        pytest.skip("SKIPPED: no file system can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@contextmanager
def disk_that_fills_up(place: Path) -> Iterator[None]:
    """The same by stand-in, wherever there is nothing to mount: a write ends where its 256 KiB do."""

    def write(fd: int, header: bytes, payload: memoryview) -> None:
        left = DISK_BYTES - bytes_in(place) + os.fstat(fd).st_size  # a part has its full length from the start
        os.write(fd, (header + bytes(payload))[:left])
        if left < len(header) + len(payload):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder_writing, "write_all", write)
        yield


@pytest.mark.parametrize("disk", [small_disk, disk_that_fills_up])
def test_a_full_disk_refuses_writes_and_serves_what_it_has(
    tmp_path: Path, disk: Callable[[Path], AbstractContextManager[None]]
) -> None:
    with disk(tmp_path), folder_tier(tmp_path, capacity=1 << 30) as tier:
        assert put(tier, "small")
        assert not put(tier, "large", rows=4096)
        kept = [number for number in range(200) if put(tier, f"picture {number}", rows=32)]
        assert 10 < len(kept) < 64
        assert tier.figures.failures["full"] == 1 + 200 - len(kept)
        assert has(tier, "small")
        assert all(has(tier, f"picture {number}", rows=32) for number in kept)
        assert files(tmp_path, "*.part") == []
        assert sum(tier.figures.bad.values()) == 0


def test_a_quota_refuses_writes_and_leaves_nothing_behind(tier: FolderTier, tmp_path: Path) -> None:
    with room_for(size_of(4)):
        assert put(tier, "small")
        assert not put(tier, "large", rows=8)
    assert tier.figures.failures == {"full": 1}
    assert files(tmp_path, "*.part") == []
    assert has(tier, "small")


def test_a_ledger_that_is_none_refuses_writes_and_serves_what_there_is(tier: FolderTier, tmp_path: Path) -> None:
    assert put(tier, "cat")
    ledger = tmp_path / "ledger"
    ledger.unlink()
    ledger.mkdir()
    assert not put(tier, "dog")
    ledger.rmdir()
    os.mkfifo(ledger)
    assert not put(tier, "dog")
    ledger.unlink()
    ledger.symlink_to(tmp_path / "aside")
    assert not put(tier, "dog")
    assert not (tmp_path / "aside").exists()
    assert has(tier, "cat")


@given(raw=st.binary(max_size=100))
@settings(FRESH_FOLDER_IS_NOT_NEEDED, max_examples=30)
def test_a_broken_ledger_is_counted_anew(tier: FolderTier, tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "ledger").write_bytes(raw)
    assert put(tier, raw.hex())
    assert tier.figures.bytes_held == len(files(tmp_path)) * size_of(4)
