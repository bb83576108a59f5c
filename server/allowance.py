"""What a caller may take of the gateway: comes with its key or token, is drawn by `server.admission.limits`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

# What is counted a minute, in the order of a request's costs.
RATES = ("requests", "images", "image_tokens", "tokens")
BUDGETS = (*RATES, "places")


@dataclass(frozen=True, slots=True)
class Budgets:
    """Amounts a minute, and `places`: requests at once. None: any number."""

    requests: int | None = None
    images: int | None = None
    image_tokens: int | None = None
    tokens: int | None = None
    places: int | None = None

    def changed(self, given: Mapping[str, int | None]) -> "Budgets":
        """These, but for what is given; a given None lifts a limit."""
        return replace(self, **given) if given else self

    def rates(self) -> tuple[tuple[int, int], ...]:
        """Those that are limited, each as its place in RATES and its limit."""
        limits = ((index, getattr(self, name)) for index, name in enumerate(RATES))
        return tuple((index, limit) for index, limit in limits if limit is not None)


UNLIMITED = Budgets()


@dataclass(frozen=True, slots=True)
class Subject:
    """One whose requests are counted together: a key, or a tenant with all its keys and tokens.

    `name` is told by no other subject; it stands in the shared store, and holds nothing of a key.
    """

    kind: Literal["key", "tenant"]
    name: str
    budgets: Budgets
