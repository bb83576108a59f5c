from pathlib import Path

import pytest

from server.engine.encoder_cache.entry import key_of
from server.engine.encoder_cache.pins import pin, unpin
from tests.unit.engine.encoder_cache.folders import NAMESPACE, files, folder_tier, has, put, size_of

CAPACITY = 20 * size_of(4)


def test_what_is_pinned_survives_anything_until_it_is_unpinned(tmp_path: Path) -> None:
    root = str(tmp_path)
    with folder_tier(tmp_path, CAPACITY) as tier:
        put(tier, "hit")
        assert has(tier, "hit")
        for name in ("hit", "not hit"):
            put(tier, name)
            assert pin(root, NAMESPACE, key_of(name), CAPACITY)
            assert pin(root, NAMESPACE, key_of(name), CAPACITY)
        for number in range(40):
            assert put(tier, f"once {number}")
            assert has(tier, f"once {number}")
        assert has(tier, "hit")
        assert has(tier, "not hit")
        assert unpin(root, NAMESPACE, key_of("hit"))
        assert not unpin(root, NAMESPACE, key_of("hit"))
        for number in range(40):
            assert put(tier, f"twice {number}")
            assert has(tier, f"twice {number}")
        assert not has(tier, "hit")
        assert has(tier, "not hit")


def test_what_is_not_there_cannot_be_pinned(tmp_path: Path) -> None:
    assert not pin(str(tmp_path), NAMESPACE, key_of("cat"), CAPACITY)
    assert not unpin(str(tmp_path), NAMESPACE, key_of("cat"))


def test_pins_over_half_the_capacity_are_refused(tmp_path: Path) -> None:
    with folder_tier(tmp_path, CAPACITY) as tier:
        for number in range(12):
            put(tier, str(number))
        for number in range(10):
            assert pin(str(tmp_path), NAMESPACE, key_of(str(number)), CAPACITY)
        with pytest.raises(OSError, match="half of the capacity"):
            pin(str(tmp_path), NAMESPACE, key_of("11"), CAPACITY)
        assert len(files(tmp_path / NAMESPACE[:16] / "pinned")) == 10
        assert has(tier, "11")
