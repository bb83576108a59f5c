import pytest

from server.images.digest import identify, identify_rendition
from server.images.inspect import InspectedImage
from server.images.names import names_of, write_facts
from server.images.rendition import PixelBudgets, make_plan

PLAIN = PixelBudgets(None, 512 * 512, "high", True)
SMALL = PixelBudgets(None, 1024, "high", True)
PNG, GIF = InspectedImage("png", 80, 70, 1), InspectedImage("gif", 80, 70, 3)
DIGEST, KEYED = identify(b"picture", None), identify(b"picture", "ann")


def test_a_picture_that_is_sent_as_it_came_has_one_name() -> None:
    assert names_of(DIGEST, write_facts(PNG, KEYED), "ann", PLAIN) == (KEYED,)
    assert names_of(DIGEST, write_facts(PNG, KEYED), None, PLAIN) == (DIGEST,)


@pytest.mark.parametrize(("owner", "name"), [("ann", KEYED), (None, DIGEST)])
def test_what_is_made_of_it_has_names_as_requests_give_them(owner: str | None, name: str) -> None:
    plans = {make_plan(GIF, "high", SMALL).name, make_plan(GIF, "low", SMALL).name}
    assert len(plans) == 2
    made = {identify_rendition(name, plan, owner) for plan in plans}
    assert set(names_of(DIGEST, write_facts(GIF, KEYED), owner, SMALL)) == {name, *made}


@pytest.mark.parametrize(
    "facts", ["", "x", f"{KEYED} bmp 1 1 1", f"{KEYED} png 1 1", f"{KEYED} png 1 -1 1", "a b c d e"]
)
def test_facts_that_say_nothing_give_no_names(facts: str) -> None:
    assert names_of(DIGEST, facts, "ann", PLAIN) == ()
