"""Every name that engines may know a picture by, told from what was written down when it was uploaded.

Whoever deletes a file has its bytes no more, and nobody has counted which renditions requests made of it: both
follow from its digest, its header and how requests are served.
"""

from typing import get_args

from server.domain import Detail
from server.images.digest import identify_rendition
from server.images.inspect import Format, InspectedImage
from server.images.rendition import PixelBudgets, make_plan

# `auto` means one of them.
DETAILS: tuple[Detail, ...] = ("high", "low")


def write_facts(seen: InspectedImage, keyed: str) -> str:
    """About a hundred characters. `keyed` is the digest that the picture has where tenants are isolated."""
    return f"{keyed} {seen.format} {seen.width} {seen.height} {seen.frames}"


def names_of(digest: str, facts: str, owner: str | None, budgets: PixelBudgets) -> tuple[str, ...]:
    """At most three: of the picture as it came, and of what is made of it for either detail.

    `digest` is the BLAKE3 of its bytes; `owner` a tenant where these are isolated. () where `facts` tell nothing.
    """
    known = read_facts(facts)
    if known is None:
        return ()
    keyed, seen = known
    name = digest if owner is None else keyed
    plans = [make_plan(seen, detail, budgets) for detail in DETAILS]
    made = [identify_rendition(name, plan.name, owner) for plan in plans if plan.notes]
    return tuple(dict.fromkeys((name, *made)))


def read_facts(facts: str) -> tuple[str, InspectedImage] | None:
    match facts.split(" "):
        case [keyed, kind, *numbers] if kind in get_args(Format) and len(numbers) == 3:
            if all(each.isascii() and each.isdigit() for each in numbers):
                return keyed, InspectedImage(kind, *map(int, numbers))  # type: ignore[arg-type]
    return None
