import os
import time
from pathlib import Path

from server.engine.encoder_cache import forgotten
from server.engine.encoder_cache.entry import key_of, pack
from server.engine.encoder_cache.folder_layout import SHELVES, entry_path
from server.engine.encoder_cache.forgotten import expire_marks, mark, mark_path, read_marks
from tests.unit.engine.encoder_cache.folders import (
    NAMESPACE,
    OTHER,
    embedding_of,
    files,
    folder_tier,
    has,
    put,
)

CAT = key_of("cat")


def test_what_is_forgotten_is_gone_from_every_shelf_and_every_tower(tmp_path: Path) -> None:
    with folder_tier(tmp_path) as tier, folder_tier(tmp_path, namespace=OTHER) as other:
        put(other, "cat")
        header, payload = pack(embedding_of("cat"), NAMESPACE)
        for shelf in SHELVES:
            path = Path(entry_path(str(tmp_path), NAMESPACE, shelf, CAT))
            path.parent.mkdir(parents=True)
            path.write_bytes(header + payload)
        assert tier.forget(CAT)
        assert files(tmp_path) == []
        assert not has(tier, "cat")
        assert not has(other, "cat")


def test_a_write_that_began_before_does_not_bring_it_back(tmp_path: Path) -> None:
    with folder_tier(tmp_path) as tier:
        begun = time.time() - 1
        assert tier.forget(CAT)
        assert not put(tier, "cat", created_s=begun)
        assert files(tmp_path) == []
        assert tier.figures.failures == {}


def test_a_mark_is_dated_by_the_clock_of_embeddings_to_the_microsecond(tmp_path: Path) -> None:
    for number in range(20):
        begun = time.time()
        mark(str(tmp_path), NAMESPACE, key_of(str(number)))
        marked = forgotten.marked_s(str(tmp_path), NAMESPACE, key_of(str(number)))
        assert marked is not None
        assert begun - 1e-6 <= marked - forgotten.CLOCKS_APART_S <= time.time() + 1e-6


def test_what_a_killed_writer_published_after_the_deletion_is_never_served(tmp_path: Path) -> None:
    with folder_tier(tmp_path) as tier:
        header, payload = pack(embedding_of("cat"), NAMESPACE)
        assert tier.forget(CAT)
        path = Path(entry_path(str(tmp_path), NAMESPACE, "new", CAT))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(header + payload)
        assert not has(tier, "cat")
        assert not path.exists()


def test_what_is_computed_after_the_deletion_is_kept(tmp_path: Path) -> None:
    with folder_tier(tmp_path) as tier:
        put(tier, "cat")
        assert tier.forget(CAT)
        assert put(tier, "cat", created_s=time.time() + forgotten.CLOCKS_APART_S)
        assert has(tier, "cat")


def age(path: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_mark_lasts_ten_minutes_and_takes_what_it_hid_with_it(tmp_path: Path) -> None:
    root = str(tmp_path)
    mark(root, NAMESPACE, CAT)
    old = Path(entry_path(root, NAMESPACE, "kept", CAT))
    fresh = Path(entry_path(root, NAMESPACE, "new", CAT))
    for path, created_s in ((old, time.time() - 700), (fresh, time.time())):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"".join(pack(embedding_of("cat", created_s=created_s), NAMESPACE)))
    age(mark_path(root, NAMESPACE, CAT), 590)
    expire_marks(root, NAMESPACE, time.time())
    assert set(read_marks(root, NAMESPACE)) == {CAT}
    assert old.exists()
    age(mark_path(root, NAMESPACE, CAT), 610)
    expire_marks(root, NAMESPACE, time.time())
    assert read_marks(root, NAMESPACE) == {}
    assert (old.exists(), fresh.exists()) == (False, True)


def test_marks_are_bounded_and_the_oldest_go(tmp_path: Path) -> None:
    root = str(tmp_path)
    keys = [key_of(str(number)) for number in range(5)]
    for place, key in enumerate(keys):
        mark(root, NAMESPACE, key)
        age(mark_path(root, NAMESPACE, key), 100 - place)
    expire_marks(root, NAMESPACE, time.time(), most=3)
    assert set(read_marks(root, NAMESPACE)) == set(keys[2:])


def test_everybody_who_shares_the_folder_hears_of_it_once(tmp_path: Path) -> None:
    with folder_tier(tmp_path) as tier, folder_tier(tmp_path) as neighbour:
        start = time.time()
        assert neighbour.forgotten_since(start) == []
        assert tier.forget(CAT)
        assert neighbour.forgotten_since(start) == [CAT]
        later = time.time()
        assert neighbour.forgotten_since(later) == []
        assert tier.forget(key_of("dog"))
        assert neighbour.forgotten_since(later) == [key_of("dog")]
        again = time.time()
        assert tier.forget(CAT)
        assert neighbour.forgotten_since(again) == [CAT]


def test_a_mark_of_a_clock_that_is_behind_is_heard_all_the_same(tmp_path: Path) -> None:
    with folder_tier(tmp_path) as tier:
        start = time.time()
        assert tier.forgotten_since(start) == []
        mark(str(tmp_path), NAMESPACE, CAT)
        age(mark_path(str(tmp_path), NAMESPACE, CAT), 60)
        assert tier.forgotten_since(start) == [CAT]


def test_a_poll_of_a_folder_at_rest_reads_no_marks(tmp_path: Path) -> None:
    with folder_tier(tmp_path) as tier:
        assert tier.forget(CAT)
        folder = tmp_path / NAMESPACE[:16] / "forgotten"
        age(str(folder), 60)
        assert tier.news.may_have_changed(time.time())
        assert not tier.news.may_have_changed(time.time())
        assert tier.forget(key_of("dog"))
        assert tier.news.may_have_changed(time.time())
