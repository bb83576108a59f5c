"""A scenario and a seed become what will be asked and when: pure, and the same each time, so that two servers can
be asked the very same."""

import heapq
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from loadtest.scenario.arrivals import TraceLine, arrival_times, read_trace
from loadtest.scenario.chosen import Chooser, make_chooser, weighted
from loadtest.scenario.document import Bursts, Closed, Poisson, Scenario, Tenant, Tokens, Trace
from loadtest.scenario.words import draw_words

# Seconds, the tenants among whom it is drawn, and what a trace says of it.
Start = tuple[float | None, tuple[Tenant, ...], TraceLine | None]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to be drawn: nothing but this and the scenario's drawing decides its bytes."""

    number: int
    width: int
    height: int
    format: str
    quality: int
    seed: int


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """`number` is its place in the plan; `pictures` are those that this turn brings."""

    number: int
    turn: int
    pictures: tuple[Picture, ...]
    text: str
    answer_tokens: int
    warm_up: bool


@dataclass(frozen=True, slots=True)
class PlannedConversation:
    """`at_s` is when its first turn is due, None where the loop is closed; the others follow upon answers."""

    number: int
    at_s: float | None
    tenant: Tenant
    turns: tuple[PlannedRequest, ...]


def make_plan(scenario: Scenario, seed: int) -> Iterator[PlannedConversation]:
    """In order of time; without end where the loop is closed and only `duration_s` is said. Raises ScenarioError
    where a trace cannot be read."""
    chooser = make_chooser(scenario.pictures)
    turns = scenario.conversations.turns
    most = None if scenario.requests is None else -(-scenario.requests // turns)
    for number, (at_s, tenants, line) in enumerate(itertools.islice(starts(scenario, seed), most)):
        if at_s is not None and scenario.duration_s is not None and at_s >= scenario.duration_s:
            return
        # One generator a conversation: what one is asked never hangs on how many came before.
        rng = random.Random(f"{seed}/{number}")
        tenant = weighted(tenants, rng)
        left = turns if scenario.requests is None else min(turns, scenario.requests - number * turns)
        asked = (make_request(scenario, seed, number * turns, turn, rng, chooser, line) for turn in range(left))
        yield PlannedConversation(number, at_s, tenant, tuple(asked))


def starts(scenario: Scenario, seed: int) -> Iterator[Start]:
    arrival = scenario.arrival
    shared = tuple(tenant for tenant in scenario.tenants if not tenant.arrival)
    if isinstance(arrival, Closed):
        return itertools.repeat((None, shared, None))
    if isinstance(arrival, Trace):
        by_name = {tenant.name: (tenant,) for tenant in scenario.tenants}
        lines = read_trace(arrival.file, arrival.speed)
        return ((line.at_s, by_name.get(line.tenant or "", shared), line) for line in lines)
    streams = [stream(arrival, shared, f"{seed}/arrivals")]
    streams += [stream(t.arrival, (t,), f"{seed}/arrivals/{t.name}") for t in scenario.tenants if t.arrival]
    return heapq.merge(*streams, key=lambda start: start[0] or 0.0)


def stream(arrival: Poisson | Bursts, tenants: tuple[Tenant, ...], seed: str) -> Iterator[Start]:
    return ((at_s, tenants, None) for at_s in arrival_times(arrival, random.Random(seed)))


def make_request(
    scenario: Scenario,
    seed: int,
    first: int,
    turn: int,
    rng: random.Random,
    chooser: Chooser,
    line: TraceLine | None,
) -> PlannedRequest:
    prompt_tokens = (line and line.prompt_tokens) or draw_tokens(scenario.text.prompt_tokens, rng)
    answer_tokens = (line and line.answer_tokens) or draw_tokens(scenario.text.answer_tokens, rng)
    numbers: tuple[int, ...] = ()
    if turn == 0 or not scenario.conversations.same_picture:
        numbers = choose_pictures(scenario, rng, chooser, line)
    prefix = draw_words(scenario.text.shared_prefix_tokens, random.Random(f"{seed}/prefix")) if turn == 0 else ""
    text = f"{prefix} {draw_words(prompt_tokens, rng)}".strip()
    pictures = tuple(make_picture(scenario, number, seed) for number in numbers)
    warm_up = first < scenario.warm_up_requests
    return PlannedRequest(first + turn, turn, pictures, text, answer_tokens, warm_up)


def choose_pictures(
    scenario: Scenario, rng: random.Random, chooser: Chooser, line: TraceLine | None
) -> tuple[int, ...]:
    if line and line.pictures is not None:
        return line.pictures
    count = weighted(scenario.pictures.per_request, rng).count
    return tuple(chooser.choose(rng) for _ in range(count))


def make_picture(scenario: Scenario, number: int, seed: int) -> Picture:
    """Its size and format are its own: it comes back as it was."""
    rng = random.Random(f"{seed}/picture/{number}")
    size = weighted(scenario.pictures.sizes, rng)
    kind = weighted(scenario.pictures.formats, rng)
    return Picture(number, size.width, size.height, kind.format, kind.quality, seed)


def draw_tokens(tokens: Tokens, rng: random.Random) -> int:
    drawn = rng.gauss(tokens.mean, tokens.spread) if tokens.spread else tokens.mean
    return max(tokens.least, min(tokens.most, round(drawn)))
