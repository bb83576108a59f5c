"""How callers are told of their limits: the errors of a draw that was refused, and headers on answers."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Protocol

from server.admission.limits.accounts import MINUTE_US, Costs
from server.allowance import RATES, Subject
from server.domain import RawHeaders
from server.errors import OverBudget, RateLimitExceeded

AMOUNTS = ("requests", "images", "image tokens", "tokens")
# A place comes back when a request ends, and nobody knows when that is.
WAIT_FOR_PLACE_US = 1_000_000
# OpenAI's names for what it limits.
TOLD = tuple(
    (index, b"x-ratelimit-limit-" + name, b"x-ratelimit-remaining-" + name, b"x-ratelimit-reset-" + name)
    for index, name in ((0, b"requests"), (3, b"tokens"))
)


class Drawn(Protocol):
    """Levels beside limits, both in the order of RATES."""

    @property
    def limits(self) -> Sequence[int | None]: ...

    @property
    def levels(self) -> Sequence[float]: ...


@dataclass(frozen=True, slots=True)
class State:
    """What a subject had drawn when a request was decided on; limits are those that it was held to."""

    subject: Subject
    limits: Sequence[int | None]
    places: int | None
    levels: Sequence[float]
    running: int


@dataclass(frozen=True, slots=True)
class Lack:
    """A budget that a request does not fit into, for `wait_us` more."""

    subject: Subject
    budget: str
    limit: int
    wait_us: int


def check_possible(subjects: Sequence[Subject], costs: Costs) -> None:
    """Refuse what could not be drawn from untouched budgets. Raises OverBudget with the arithmetic."""
    for subject in subjects:
        for index, limit in subject.budgets.rates():
            if costs[index] > limit:
                raise OverBudget(
                    f"The request takes {costs[index]} {AMOUNTS[index]}{parts_of(costs, index)}, "
                    f"and this {subject.kind} has {limit} a minute: it can never be taken."
                )
        if subject.budgets.places == 0:
            raise OverBudget(f"This {subject.kind} has no place for a request: none can ever be taken.")


def parts_of(costs: Costs, index: int) -> str:
    return f" ({costs[2]} of images, {costs[3] - costs[2]} of text and max_tokens)" if index == 3 else ""


def lacks(states: Sequence[State], costs: Costs) -> Iterator[Lack]:
    for state in states:
        if state.places is not None and state.running >= state.places:
            yield Lack(state.subject, "places", state.places, WAIT_FOR_PLACE_US)
        for index, limit in enumerate(state.limits):
            if limit is None:
                continue
            over = state.levels[index] + min(costs[index], limit) - limit
            if over > 0:
                # One more: in a microsecond more falls than rounding may have added.
                yield Lack(state.subject, RATES[index], limit, ceil(over * MINUTE_US / limit) + 1)


def refusal_of(lack: Lack, states: Sequence[State]) -> RateLimitExceeded:
    """The error for the budget that takes longest to have room."""
    kind, seconds = lack.subject.kind, lack.wait_us / 1e6
    if lack.budget == "places":
        what = f"This {kind} has {lack.limit} requests running, as many as it may: try again when one has ended."
    else:
        amount = AMOUNTS[RATES.index(lack.budget)]
        what = f"This {kind} may take {lack.limit} {amount} a minute: try again in {seconds:.3f} s."
    headers = (*headers_of(states), (b"retry-after-ms", b"%d" % ceil(lack.wait_us / 1000)))
    return RateLimitExceeded(what, ceil(seconds), headers)


def headers_of(drawn: Iterable[Drawn]) -> RawHeaders:
    """As OpenAI tells limits; of key and tenant the one that has less left."""
    headers: list[tuple[bytes, bytes]] = []
    for index, limit_name, left_name, reset_name in TOLD:
        found: tuple[float, int] | None = None
        for each in drawn:
            limit = each.limits[index]
            if limit is not None and (found is None or limit - each.levels[index] < found[0]):
                found = (limit - each.levels[index], limit)
        if found is not None:
            left, limit = found
            reset_ms = ceil((limit - left) * 60_000 / limit) if limit else 0
            headers.append((limit_name, b"%d" % limit))
            headers.append((left_name, b"%d" % left if left > 0 else b"0"))
            headers.append((reset_name, duration(reset_ms)))
    return tuple(headers)


def duration(ms: int) -> bytes:
    """As OpenAI writes it: 20ms, 1.5s, 6m0s."""
    if ms < 1000:
        return b"%dms" % ms
    if ms < 60_000:
        return b"%gs" % (ms / 1000)
    return b"%dm%gs" % (ms // 60_000, ms % 60_000 / 1000)
