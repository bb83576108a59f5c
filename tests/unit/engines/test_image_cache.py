import pytest

from server.domain import IMAGE_CACHE, MediaSlot
from server.engine.encoder_cache import telling
from server.engines.image_cache import ASKS, MOST_PICTURES, names_of, read_outcomes


def slot(digest: str) -> MediaSlot:
    return MediaSlot(digest, 0, 0, 0, 0)


def test_the_engine_and_the_gateway_speak_of_the_same_headers_and_words() -> None:
    assert ASKS.encode() == telling.ASKS
    assert {each.decode() for each in telling.WORDS.values()} == set(IMAGE_CACHE)
    assert MOST_PICTURES == telling.MOST_PICTURES


def test_a_picture_that_is_shown_twice_is_asked_about_once() -> None:
    assert names_of([slot("b"), slot("a"), slot("b")]) == "b,a"


def test_more_pictures_than_a_head_should_hold_are_not_asked_about() -> None:
    assert names_of(map(slot, map(str, range(MOST_PICTURES)))).count(",") == MOST_PICTURES - 1
    assert names_of(map(slot, map(str, range(MOST_PICTURES + 1)))) == ""


def test_what_an_engine_tells_is_read_in_order() -> None:
    assert read_outcomes(b"hit-disk,miss,hit-gpu") == ("hit-disk", "miss", "hit-gpu")


@pytest.mark.parametrize(
    "told",
    [b"", b"hit", b"hit-disk,", b"hit-disk, miss", b"hit-disk;miss", b"x", b"hit-disk,x", b"miss," * 70 + b"miss"],
)
def test_what_is_no_word_of_ours_is_not_passed_on(told: bytes) -> None:
    assert read_outcomes(told) == ()
