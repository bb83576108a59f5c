import os
from pathlib import Path

from server.engine.encoder_cache.entry import key_of
from server.engine.encoder_cache.ghosts import KEY_BYTES, MOST, Ghosts, path_of, read, remember
from tests.unit.engine.encoder_cache.folders import NAMESPACE, OTHER

KEYS = [key_of(str(number)) for number in range(6)]


def made(root: Path) -> str:
    (root / NAMESPACE[:16]).mkdir()
    return str(root)


def test_what_is_remembered_is_known_to_everybody_at_once(tmp_path: Path) -> None:
    root = made(tmp_path)
    ghosts, neighbour = Ghosts(root, NAMESPACE), Ghosts(root, NAMESPACE)
    assert KEYS[0] not in ghosts
    remember(root, NAMESPACE, KEYS[:1], 10)
    assert KEYS[0] in ghosts
    assert KEYS[1] not in ghosts
    remember(root, NAMESPACE, KEYS[1:3], 10)
    assert all(key in ghosts and key in neighbour for key in KEYS[:3])
    assert KEYS[0] not in Ghosts(root, OTHER)
    assert [path.name for path in (tmp_path / NAMESPACE[:16]).iterdir()] == ["evicted"]


def test_the_oldest_are_forgotten(tmp_path: Path) -> None:
    root = made(tmp_path)
    for key in KEYS:
        remember(root, NAMESPACE, [key], 3)
    ghosts = Ghosts(root, NAMESPACE)
    assert [key in ghosts for key in KEYS] == [False, False, False, True, True, True]


def test_whatever_lies_in_its_place_is_no_more_than_a_wrong_hint(tmp_path: Path) -> None:
    root = made(tmp_path)
    path = Path(path_of(root, NAMESPACE))
    path.write_bytes(b"x" * 21)
    assert KEYS[0] not in Ghosts(root, NAMESPACE)
    assert len(read(root, NAMESPACE)) == 16
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert len(read(root, NAMESPACE)) == MOST * KEY_BYTES
    for make in (lambda: path.symlink_to("/dev/zero"), lambda: os.mkfifo(path), path.mkdir):
        path.unlink()
        make()
        assert KEYS[0] not in Ghosts(root, NAMESPACE)
