from hypothesis import given
from hypothesis import strategies as st

from server.engine.encoder_cache.eviction import eviction_order
from server.engine.encoder_cache.folder_layout import SHELVES, Found, Shelf

MINE, OTHER = "a" * 16, "b" * 16


def found(key: str, shelf: Shelf, at: float, size: int = 1, namespace: str = MINE) -> Found:
    return Found(f"/{namespace}/{shelf}/{key}", namespace, shelf, key, size, at)


def order(*there: Found, capacity: int = 100, now: float = 1000) -> str:
    return "".join(each.key for each in eviction_order(there, {MINE}, capacity, now))


def test_what_was_never_hit_goes_oldest_first_while_it_has_over_a_tenth() -> None:
    there = [found(key, "new", at, 5) for key, at in (("b", 2), ("a", 1), ("c", 3), ("d", 4))]
    assert order(*there, found("x", "kept", 0), found("y", "kept", 9)) == "abxycd"


def test_what_was_hit_goes_by_its_last_hit() -> None:
    assert order(found("y", "kept", 5), found("x", "kept", 3), found("n", "new", 1)) == "xyn"


def test_towers_that_no_engine_uses_go_before_anything_else() -> None:
    theirs = (found("t", "kept", 900, namespace=OTHER), found("u", "new", 800, namespace=OTHER))
    assert order(found("a", "new", 1, 50), *theirs) == "uta"


def test_pinned_entries_never_go() -> None:
    assert order(found("p", "pinned", 0), found("q", "pinned", 0, namespace=OTHER), found("a", "new", 1)) == "a"


def test_an_entry_from_the_future_is_the_oldest() -> None:
    assert order(found("a", "kept", 10), found("f", "kept", 1e12)) == "fa"


@given(
    st.lists(
        st.builds(
            found,
            key=st.text(),
            shelf=st.sampled_from(SHELVES),
            at=st.floats(0, 2000),
            size=st.integers(0, 60),
            namespace=st.sampled_from((MINE, OTHER)),
        )
    )
)
def test_everything_but_what_is_pinned_can_go_and_each_once(there: list[Found]) -> None:
    ordered = list(eviction_order(there, {MINE}, 100, 1000))
    evictable = [each for each in there if each.shelf != "pinned"]
    assert sorted(map(repr, ordered)) == sorted(map(repr, evictable))
