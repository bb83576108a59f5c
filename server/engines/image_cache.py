"""Reads what an engine tells of where the embeddings of a request's pictures came from."""

from collections.abc import Iterable

from server.domain import IMAGE_CACHE, ImageCache, MediaSlot

# To the engine, and from it: its pictures by digest, and an outcome for each in the same order.
ASKS = "x-fovea-images"
# More would make a head that some server refuses.
MOST_PICTURES = 64
_OUTCOMES: dict[bytes, ImageCache] = {each.encode(): each for each in IMAGE_CACHE}


def names_of(slots: Iterable[MediaSlot]) -> str:
    """Each picture once, for the header; empty where they are too many."""
    digests = dict.fromkeys(slot.digest for slot in slots)
    return ",".join(digests) if len(digests) <= MOST_PICTURES else ""


def read_outcomes(told: bytes) -> tuple[ImageCache, ...]:
    """None of them where one is no word of ours: it goes to callers."""
    if told in _OUTCOMES:  # as most are, of one picture
        return (_OUTCOMES[told],)
    outcomes = tuple(_OUTCOMES[each] for each in told.split(b",", MOST_PICTURES) if each in _OUTCOMES)
    return outcomes if len(outcomes) == told.count(b",") + 1 else ()
