import pytest

from server.domain import MediaSlot
from server.engines.held import MOST_PICTURES, HeldImages, HeldRules
from tests.unit.engines.clock import Clock


def slots(*names: str, size: int = 10) -> list[MediaSlot]:
    return [MediaSlot(name, 1, 0, 0, size) for name in names]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def held(clock: Clock) -> HeldImages:
    return HeldImages(HeldRules(most_bytes=50, pause_s=300), clock)


def test_names_are_enough_for_what_the_engine_has_seen(held: HeldImages) -> None:
    assert held.among(slots("a")) == set()
    held.saw(slots("a", "b"))
    assert held.among(slots("a", "c", "b")) == {"a", "b"}


def test_the_least_recently_used_are_let_go_of(held: HeldImages) -> None:
    held.saw(slots("a", "b", "c", "d", "e"))
    held.saw(slots("a"))
    held.saw(slots("f"))
    assert held.among(slots("a", "b", "c", "d", "e", "f")) == {"a", "c", "d", "e", "f"}


def test_one_that_is_larger_than_all_of_the_cache_is_never_held(held: HeldImages) -> None:
    held.saw(slots("huge", size=51))
    assert held.among(slots("huge")) == set()
    held.saw(slots("a"))
    assert held.among(slots("a")) == {"a"}


def test_pictures_are_bounded_in_number(clock: Clock) -> None:
    held = HeldImages(HeldRules(most_bytes=10**12), clock)
    held.saw(slots(*(str(n) for n in range(MOST_PICTURES + 5)), size=1))
    assert held.among(slots("4", "5")) == {"5"}


def test_a_miss_means_that_what_was_used_before_is_gone_too(held: HeldImages) -> None:
    held.saw(slots("a", "b", "c", "d"))
    held.missed(frozenset("b"))
    assert held.among(slots("a", "b", "c", "d")) == {"c", "d"}


def test_all_that_were_named_in_vain_are_forgotten(held: HeldImages) -> None:
    held.saw(slots("a", "b", "c", "d"))
    held.missed(frozenset({"b", "d"}))
    assert held.among(slots("a", "b", "c", "d")) == {"c"}
    held.saw(slots(*"efgh"))
    assert held.among(slots(*"cefgh")) == set("cefgh")


def test_two_misses_of_one_picture_at_once_forget_no_more_than_one_does(held: HeldImages) -> None:
    held.saw(slots("a", "b", "c", "d"))
    held.missed(frozenset("b"))
    held.missed(frozenset("b"))
    assert held.among(slots("a", "b", "c", "d")) == {"c", "d"}


class Digest(str):
    """Counts how often any of its kind is looked for."""

    looks = 0
    __slots__ = ()

    def __hash__(self) -> int:
        Digest.looks += 1
        return super().__hash__()


def test_a_miss_looks_only_at_what_it_forgets(clock: Clock) -> None:
    held = HeldImages(HeldRules(most_bytes=10**12), clock)
    digests = [Digest(number) for number in range(MOST_PICTURES)]
    held.saw(slots(*digests, size=1))
    missed = frozenset(digests[:2])
    Digest.looks = 0
    held.missed(missed)
    assert 0 < Digest.looks < 50
    assert held.among(slots(*digests[:4])) == {"2", "3"}


def test_an_engine_that_keeps_nothing_is_left_alone_for_a_while(held: HeldImages, clock: Clock) -> None:
    asked = 0
    for _ in range(50):
        held.saw(slots("a"))
        if held.among(slots("a")):
            asked += 1
            held.missed(frozenset("a"))
    assert asked == 2
    clock.now += 300
    held.saw(slots("a"))
    assert held.among(slots("a")) == {"a"}


def test_a_miss_among_hits_changes_nothing(held: HeldImages) -> None:
    for _ in range(100):
        held.saw(slots("a"))
        for _ in range(3):
            held.hit()
        held.missed(frozenset("a"))
    held.saw(slots("a"))
    assert held.among(slots("a")) == {"a"}


def test_an_engine_that_was_started_anew_holds_nothing(held: HeldImages) -> None:
    held.saw(slots("a"))
    held.clear()
    assert held.among(slots("a")) == set()


def test_what_is_forgotten_says_nothing_of_what_else_is_held(held: HeldImages) -> None:
    held.saw(slots("a", "b", "c", "d", "e"))
    held.forget(["c", "unknown"])
    assert held.among(slots("a", "b", "c", "d", "e")) == {"a", "b", "d", "e"}
    held.saw(slots("f"))  # there is room for it again
    assert held.among(slots("a", "f")) == {"a", "f"}
