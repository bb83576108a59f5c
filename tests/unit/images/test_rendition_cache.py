from hypothesis import given
from hypothesis import strategies as st

from server.images.rendition import Rendition
from server.images.rendition_cache import RenditionCache


def rendition(size: int) -> Rendition:
    return Rendition(bytes(size), "image/png", 1, 1)


def test_what_was_used_last_stays() -> None:
    cache = RenditionCache(30)
    for name in "abc":
        cache.put(name, rendition(10))
    assert cache.get("a")
    cache.put("d", rendition(10))
    assert [name for name in "abcd" if cache.get(name)] == ["a", "c", "d"]


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    cache = RenditionCache(30)
    cache.put("a", rendition(10))
    cache.put("b", rendition(31))
    assert cache.get("b") is None
    assert cache.get("a") is not None


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 40))))
def test_it_never_holds_more_than_it_may(puts: list[tuple[str, int]]) -> None:
    cache = RenditionCache(60)
    for name, size in puts:
        cache.put(name, rendition(size))
        held = [kept for kept in map(cache.get, "abcdef") if kept]
        assert sum(len(kept.data) for kept in held) == cache.held_bytes <= 60


def test_what_is_forgotten_gives_its_room_back() -> None:
    cache = RenditionCache(30)
    cache.put("a", rendition(10))
    cache.put("b", rendition(5))
    cache.forget("a")
    cache.forget("unknown")
    assert (cache.get("a"), cache.held_bytes) == (None, 5)
