from pathlib import Path

from deploy.control_plane.place import PROGRAMS, Place


def test_what_was_built_is_found_again_until_what_is_built_changes(tmp_path: Path) -> None:
    place = Place(tmp_path / "control-plane")
    assert not place.is_built()
    for name in ("made", "etcd-made"):
        (tmp_path / name).write_text(name)
    with place.building():
        place.take(tmp_path / "made", tmp_path / "etcd-made")
    assert place.is_built()
    assert {(place.folder / name).read_text() for name in PROGRAMS} == {"made"}
    (place.folder / ".fovea-stamp").write_text("of another source")
    assert not place.is_built()


def test_who_builds_is_seen_and_who_has_ended_is_not(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert not place.is_building()
    with place.building():
        assert Place(tmp_path).is_building()
    assert not place.is_building()


def test_a_build_that_failed_leaves_word_and_the_next_one_takes_it_away(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert place.failure() == ("unavailable", "it was not built")
    place.log.write_text("k8s.io/api\n+ go build ...\nnet/http\nkilled\n")
    assert place.failure() == ("failed", "the build ended without a word")
    assert place.last_lines(1) == ["killed"]
    assert place.compiled() == 2
    place.fail("unavailable", "there is no apt-get here")
    assert place.failure() == ("unavailable", "there is no apt-get here")
    with place.building():
        assert not (tmp_path / "failure.json").exists()


def test_hurrying_a_build_that_is_no_more_does_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.hurry()
    (tmp_path / "pid").write_text("no number")
    place.hurry()
