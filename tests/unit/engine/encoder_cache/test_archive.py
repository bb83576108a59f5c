import io
import os
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.engine.encoder_cache.archive import BadArchive, Moved, export_entries, import_entries
from server.engine.encoder_cache.entry import key_of, pack
from server.engine.encoder_cache.folder_survey import find_all, header_of, verify
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

CAPACITY = 1 << 20
RIGHT_NAME = f"{NAMESPACE[:16]}/{key_of('cat')}.emb"
ON_ONE_FOLDER = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def entry(name: str = "cat", namespace: str = NAMESPACE) -> bytes:
    return b"".join(pack(embedding_of(name), namespace))


def tar_of(*members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, raw in members:
            about = tarfile.TarInfo(name)
            about.size, about.type, about.linkname = len(raw), kind, "/etc/passwd"
            tar.addfile(about, io.BytesIO(raw))
    return file.getvalue()


def imported(raw: bytes, root: Path, capacity: int = CAPACITY) -> Moved:
    return list(import_entries(io.BytesIO(raw), str(root), capacity))[-1]


def filled(root: Path, count: int = 5) -> bytes:
    with folder_tier(root) as tier:
        for number in range(count):
            assert put(tier, f"picture {number}", rows=number + 1)
    file = io.BytesIO()
    assert export_entries(find_all(str(root), NAMESPACE), file).entries == count
    return file.getvalue()


def test_what_is_exported_is_a_plain_tar_and_comes_back_as_it_was(tmp_path: Path) -> None:
    raw = filled(tmp_path / "here")
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        names = tar.getnames()
    assert sorted(names) == sorted(f"{NAMESPACE[:16]}/{key_of(f'picture {n}')}.emb" for n in range(5))
    moved = imported(raw, tmp_path / "there")
    assert (moved.entries, moved.already, moved.namespace, moved.refused) == (5, 0, NAMESPACE, {})
    with folder_tier(tmp_path / "there") as tier:
        assert all(has(tier, f"picture {number}", rows=number + 1) for number in range(5))
    assert imported(raw, tmp_path / "there").already == 5


def test_what_is_bad_is_not_exported(tmp_path: Path) -> None:
    filled(tmp_path)
    path = files(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    files(tmp_path)[1].unlink()
    moved = export_entries([*find_all(str(tmp_path)), *find_all(str(tmp_path))][:4], io.BytesIO())
    assert moved.refused == {"checksum": 1}
    assert moved.entries == 3


def test_what_engines_move_while_it_is_exported_comes_along(tmp_path: Path) -> None:
    filled(tmp_path)
    found = find_all(str(tmp_path))
    with folder_tier(tmp_path) as tier:
        assert all(has(tier, f"picture {number}", rows=number + 1) for number in range(4))
        assert tier.forget(key_of("picture 4"))
    assert export_entries(found, io.BytesIO()).entries == 4
    assert [verify(each) for each in found] == [None] * 5
    assert [header_of(each) is None for each in found].count(True) == 1


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/cron.d/x",
        "/etc/passwd",
        f"../{RIGHT_NAME}",
        f"./{RIGHT_NAME}",
        f"/{RIGHT_NAME}",
        f"{RIGHT_NAME}/../../x",
        f"{NAMESPACE[:16]}/../{key_of('cat')}.emb",
        f"{OTHER[:16]}/{key_of('cat')}.emb",
        f"{NAMESPACE[:16]}/{key_of('dog')}.emb",
        f"{key_of('cat')}.emb",
        RIGHT_NAME.upper(),
        f"{RIGHT_NAME}\n",
        "x" * 300,
        "",
    ],
)
def test_a_hostile_name_is_refused_whatever_the_entry(tmp_path: Path, name: str) -> None:
    moved = imported(tar_of((name, entry())), tmp_path / "root")
    assert moved.entries == 0
    assert sum(moved.refused.values()) >= 1
    assert files(tmp_path, "*") == []


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE, b"V"]
)
def test_what_is_no_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    moved = imported(tar_of((RIGHT_NAME, b""), kind=kind), tmp_path / "root")
    assert moved.refused == {"foreign": 1}
    assert files(tmp_path, "*") == []


def test_entries_that_prove_wrong_are_refused_and_the_others_taken(tmp_path: Path) -> None:
    flipped = bytearray(entry())
    flipped[-1] ^= 1
    dog = f"{NAMESPACE[:16]}/{key_of('dog')}.emb"
    cow = f"{NAMESPACE[:16]}/{key_of('cow')}.emb"
    moved = imported(
        tar_of(
            (RIGHT_NAME, bytes(flipped)),
            (dog, entry("dog")),
            (f"{OTHER[:16]}/{key_of('cat')}.emb", entry("cat", OTHER)),
            (cow, entry("cat")),
            ("README", b"hello"),
            (RIGHT_NAME, b"not an entry" * 100),
        ),
        tmp_path,
    )
    assert moved.refused == {"checksum": 1, "namespace": 1, "key": 1, "foreign": 2}
    assert [path.stem for path in files(tmp_path)] == [key_of("dog")]


def test_what_was_just_forgotten_does_not_come_back_from_an_archive(tmp_path: Path) -> None:
    raw = filled(tmp_path)
    with folder_tier(tmp_path) as tier:
        assert tier.forget(key_of("picture 3"))
    assert imported(raw, tmp_path).refused == {"forgotten": 1}
    assert len(files(tmp_path)) == 4


def test_more_than_fits_stays_within_the_capacity(tmp_path: Path) -> None:
    raw = tar_of(*((f"{NAMESPACE[:16]}/{key_of(str(n))}.emb", entry(str(n))) for n in range(30)))
    assert imported(raw, tmp_path, 10 * size_of(4)).entries == 30
    assert 9 * size_of(4) <= bytes_in(tmp_path) <= 10 * size_of(4)


def test_a_member_of_any_stated_length_is_never_held_in_memory(tmp_path: Path) -> None:
    head = bytearray(tar_of((RIGHT_NAME, b"x" * 600))[:512])
    head[124:136] = b"777777777777"
    head[148:156] = b"%06o\0 " % (sum(head[:148]) + 256 + sum(head[156:]))
    with pytest.raises(BadArchive, match="ends in the middle"):
        imported(bytes(head) + bytes(5000), tmp_path)


@pytest.mark.parametrize("raw", [b"", b"\x1f\x8b" + bytes(600), b"hello", os.urandom(4096)])
def test_what_is_no_tar_is_said_to_be_none(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(BadArchive):
        imported(raw, tmp_path)


@ON_ONE_FOLDER
@given(data=st.data())
def test_a_damaged_archive_ends_and_nothing_bad_gets_in(tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray(tar_of((RIGHT_NAME, entry()), ("folder/", b""), (RIGHT_NAME, entry())))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    whole = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    with suppress(BadArchive):
        list(import_entries(io.BytesIO(whole), str(tmp_path), CAPACITY))
    assert all(verify(each) is None for each in find_all(str(tmp_path)))
    assert {path.stem for path in files(tmp_path)} <= {key_of("cat")}
    for path in files(tmp_path):
        path.unlink()
