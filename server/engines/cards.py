"""What an engine says that it serves: read from its /v1/models, which nobody has checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from server.printable import printable

# Of one engine, adapters included. They become labels of metrics.
MOST_MODELS = 256
MOST_NAME = 256


@dataclass(frozen=True, slots=True)
class Card:
    """`context` is in tokens, None where not told. An adapter (LoRA) has its base's, whose name is `base`."""

    context: int | None
    base: str


def read_cards(body: bytes) -> dict[str, Card]:
    """Models by name, bases before their adapters. What has no usable name is left out.

    Raises ValueError where the answer is no list of models.
    """
    try:
        listed = orjson.loads(body)["data"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as problem:
        raise ValueError("no list of models") from problem
    if not isinstance(listed, list):
        raise ValueError("no list of models")
    given = {
        card["id"]: card for card in listed[:MOST_MODELS] if isinstance(card, dict) and _is_name(card.get("id"))
    }
    found = {name: Card(_context(card), name) for name, card in given.items() if _base(card, given) == name}
    for name, card in given.items():
        base = found.get(_base(card, given))
        if name not in found and base is not None:
            found[name] = Card(_context(card) or base.context, base.base)
    return found


def _base(card: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """The `parent` that vLLM writes for an adapter, where that is served here too."""
    parent = card.get("parent")
    return parent if isinstance(parent, str) and parent in given else str(card["id"])


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= MOST_NAME and printable(name, MOST_NAME) == name


def _context(card: Mapping[str, Any]) -> int | None:
    told = card.get("max_model_len")
    return told if isinstance(told, int) and not isinstance(told, bool) and told > 0 else None
