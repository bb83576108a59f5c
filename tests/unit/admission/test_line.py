"""Who is next: shares by weight, turns within a tenant, nobody for ever, and few steps however many wait."""

import sys
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.admission.fair_queue import FairQueue, Waiter
from server.admission.line import Line
from server.domain import PRIORITIES, Priority


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def waiter(
    tenant: str = "ann", tokens: int = 10, weight: float = 1, priority: Priority = "standard", since: float = 0
) -> Waiter:
    return Waiter(tokens, tenant, weight, priority, since)


def serve(line: Line) -> Waiter:
    found = line.first()
    assert found is not None
    line.serve(found)
    return found


def test_within_a_tenants_class_who_came_first_is_served_first() -> None:
    line = Line(10, Clock())
    waiters = [waiter(tokens=tokens) for tokens in (5, 500, 1, 50)]
    for each in waiters:
        line.push(each)
    assert [serve(line) for _ in waiters] == waiters


def test_a_tenant_that_floods_delays_itself() -> None:
    line = Line(10, Clock())
    for _ in range(1000):
        line.push(waiter("flood"))
    for _ in range(10):
        serve(line)
    quiet = waiter("quiet")
    line.push(quiet)
    assert quiet in (serve(line), serve(line))


def test_what_is_shared_is_cost_and_not_the_number_of_requests() -> None:
    line = Line(10, Clock())
    for _ in range(100):
        line.push(waiter("pictures", tokens=1000))
        for _ in range(10):
            line.push(waiter("words", tokens=100))
    served = Counter[str]()
    for _ in range(440):
        found = serve(line)
        served[found.tenant] += found.tokens
    assert served["pictures"] == pytest.approx(served["words"], rel=0.05)


@pytest.mark.parametrize(("weights", "share"), [((1, 1), 1), ((3, 1), 3), ((0.5, 5), 0.1)])
def test_tenants_share_by_their_weights(weights: tuple[float, float], share: float) -> None:
    line = Line(10, Clock())
    for _ in range(2000):
        line.push(waiter("a", weight=weights[0]))
        line.push(waiter("b", weight=weights[1]))
    served = Counter(serve(line).tenant for _ in range(1100))
    assert served["a"] / served["b"] == pytest.approx(share, rel=0.05)


def test_classes_share_sixteen_to_four_to_one_however_many_tenants_each_has() -> None:
    line = Line(10, Clock())
    classes: tuple[Priority, ...] = ("interactive", "standard", "batch")
    for number in range(1000):
        for priority, tenants in zip(classes, (1, 10, 100), strict=True):
            line.push(waiter(f"t{number % tenants}", priority=priority))
    served = Counter(serve(line).priority for _ in range(1050))
    assert [served[priority] / served["batch"] for priority in classes] == pytest.approx([16, 4, 1], rel=0.05)


def test_what_classes_share_is_cost_too() -> None:
    line = Line(10, Clock())
    for _ in range(2000):
        line.push(waiter(priority="interactive", tokens=1000))
        line.push(waiter(priority="batch", tokens=100))
    served = Counter[str]()
    for _ in range(1000):
        found = serve(line)
        served[found.priority] += found.tokens
    assert served["interactive"] / served["batch"] == pytest.approx(16, rel=0.05)


def test_a_class_that_was_empty_has_not_saved_up() -> None:
    line = Line(10, Clock())
    for _ in range(1000):
        line.push(waiter(priority="interactive"))
    for _ in range(500):
        serve(line)
    for _ in range(100):
        line.push(waiter(priority="batch"))
    assert Counter(serve(line).priority for _ in range(34))["batch"] == 2


@pytest.mark.parametrize("others", [1, 5])
def test_a_tenant_that_asks_for_one_at_a_time_has_its_share_and_no_more(others: int) -> None:
    line = Line(10, Clock())
    for number in range(20_000):
        line.push(waiter(f"many-{number % others}", tokens=10))
    line.push(waiter("one at a time", tokens=1000))
    served = Counter[str]()
    for number in range(15_000):
        found = serve(line)
        served[found.tenant] += found.tokens * (number >= 5000)  # it may have a few more in the beginning
        if found.tenant == "one at a time":
            line.push(waiter("one at a time", tokens=1000))
    assert served["one at a time"] == pytest.approx(served["many-0"], rel=0.15)


def test_a_class_that_waits_comes_to_weigh_more() -> None:
    clock = Clock()
    line = Line(10, clock)
    for _ in range(2000):
        line.push(waiter("a", priority="interactive"))
        line.push(waiter("b", priority="batch"))
    fresh = Counter(serve(line).priority for _ in range(170))
    clock.now = 40  # four doublings
    aged = Counter(serve(line).priority for _ in range(200))
    assert fresh["interactive"] / fresh["batch"] == pytest.approx(16, rel=0.05)
    assert aged["interactive"] / aged["batch"] == pytest.approx(1, rel=0.05)


def test_a_stream_of_newcomers_does_not_keep_out_who_has_been_served() -> None:
    line = Line(1e9, Clock())
    for _ in range(2):
        line.push(waiter("heavy", tokens=1000))
    serve(line)
    for number in range(1000):
        for step in range(3):
            line.push(waiter(f"new-{number}-{step}", tokens=10))
        if serve(line).tenant == "heavy":
            break
    assert number < 250  # the heavy one's 1000 tokens, at one part among many of what is served


def test_who_leaves_the_line_is_not_charged() -> None:
    line = Line(10, Clock())
    left = [waiter("a", tokens=10_000) for _ in range(3)]
    for each in left:
        line.push(each)
    other = waiter("b")
    line.push(other)
    for each in left:
        line.remove(each)
    back = waiter("a")
    line.push(back)
    assert {serve(line), serve(line)} == {other, back}
    assert (line.count, line.tokens, line.first()) == (0, 0, None)


def test_the_longest_flow_is_known_through_all_changes() -> None:
    line = Line(10, Clock())
    waiters = {tenant: [waiter(tenant) for _ in range(size)] for tenant, size in {"a": 3, "b": 5, "c": 4}.items()}
    for each in waiters.values():
        for one in each:
            line.push(one)

    def longest() -> tuple[str, int]:
        flow = line.longest()
        assert flow is not None
        return flow.tenant, len(flow.waiters)

    assert longest() == ("b", 5)
    for one in waiters["b"][:2]:
        line.remove(one)
    assert longest() == ("c", 4)
    for one in waiters["c"]:
        line.remove(one)
    assert longest()[1] == 3
    while line.count:
        serve(line)
    assert line.longest() is None


def entries(queue: FairQueue) -> int:
    """All that a queue keeps."""
    return sum(len(value) for value in vars(queue).values() if hasattr(value, "__len__"))


def test_tenants_that_come_and_leave_leave_nothing() -> None:
    queue = FairQueue()
    queue.push(waiter("stays"))
    for number in range(20_000):
        passing = waiter(f"t{number}")
        queue.push(passing)
        queue.remove(passing)
    assert entries(queue) < 200


def test_tenants_that_were_served_leave_nothing() -> None:
    queue = FairQueue()
    for number in range(5000):
        queue.push(waiter(f"t{number}", tokens=1000))
    for _ in range(4990):
        queue.pop()
    assert entries(queue) < 200
    while queue.count:
        queue.pop()
    assert entries(queue) == 0


class Counted(float):
    """A number that counts how often it is compared."""

    comparisons = 0

    def __lt__(self, other: float) -> bool:
        Counted.comparisons += 1
        return float(self) < float(other)

    def __gt__(self, other: float) -> bool:
        Counted.comparisons += 1
        return float(self) > float(other)

    def __add__(self, other: float) -> "Counted":
        return Counted(float(self) + float(other))

    __radd__ = __add__

    def __truediv__(self, other: float) -> "Counted":
        return Counted(float(self) / float(other))


def steps(work: Callable[[], object]) -> tuple[int, int]:
    """Functions called, ours and C's, and comparisons made."""
    calls = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = Counted.comparisons
    sys.setprofile(note)
    work()
    sys.setprofile(None)
    return calls, Counted.comparisons - before


@pytest.mark.parametrize("tenants", [1, 100, 10_000])
def test_with_ten_thousand_waiting_each_step_is_short(tenants: int) -> None:
    line = Line(10, Clock())
    waiting = []
    for number in range(10_000):
        waiting.append(waiter(f"t{number % tenants}", tokens=Counted(1 + number % 7)))  # type: ignore[arg-type]
        line.push(waiting[-1])
    for _ in range(100):
        waiting.remove(serve(line))
    late = waiter("late", tokens=Counted(3))  # type: ignore[arg-type]
    for work in (lambda: line.push(late), lambda: line.remove(late), lambda: line.remove(waiting[5000])):
        calls, comparisons = steps(work)
        assert calls <= 60
        assert comparisons <= 40
    calls, comparisons = steps(lambda: [serve(line) for _ in range(100)])
    assert calls <= 100 * 150
    assert comparisons <= 100 * 120


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    priority=st.sampled_from(PRIORITIES),
    weight=st.sampled_from([0.1, 1.0, 10.0]),
    tokens=st.integers(1, 2000),
    owing=st.integers(0, 3),
)
def test_whoever_waits_is_served_whatever_comes_after(
    seed: int, priority: Priority, weight: float, tokens: int, owing: int
) -> None:
    """For each that is served another comes: of all classes, weights and costs, many from tenants never seen."""
    random, clock = Random(seed), Clock()
    line = Line(10, clock)

    def comes(number: int) -> None:
        tenant = f"new-{number}" if random.random() < 0.5 else f"old-{random.randrange(5)}"
        chosen, heavy = random.choice(PRIORITIES), random.choice([0.1, 1, 10])
        line.push(waiter(tenant, random.randint(1, 2000), heavy, chosen, clock.now))

    for number in range(100):
        comes(number)
    for _ in range(owing):  # what it has had before
        line.push(waiter("probe", tokens, weight, priority, clock.now))
    probe = waiter("probe", tokens, weight, priority, clock.now)
    line.push(probe)
    for number in range(100, 20_000):
        clock.now += 0.05
        if serve(line) is probe:
            break
        comes(number)
    else:
        raise AssertionError("it was never served")


@settings(max_examples=200, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from("psrr"), st.integers(0, 30), st.integers(1, 99)), max_size=120))
def test_a_line_is_what_was_put_in_and_not_taken_out(steps: list[tuple[str, int, int]]) -> None:
    line, inside = Line(10, Clock()), list[Waiter]()
    for step, which, tokens in steps:
        if step == "p":
            inside.append(waiter(f"t{which % 4}", tokens, 1 + which % 3, PRIORITIES[which % 3]))
            line.push(inside[-1])
        elif inside and step == "s":
            served = serve(line)
            flow = [each for each in inside if (each.tenant, each.priority) == (served.tenant, served.priority)]
            assert served is flow[0]
            inside.remove(served)
        elif inside:
            line.remove(inside.pop(which % len(inside)))
        sizes = Counter((each.tenant, each.priority) for each in inside)
        longest = line.longest()
        assert (len(longest.waiters) if longest else 0) == max(sizes.values(), default=0)
        assert (line.count, line.tokens) == (len(inside), sum(each.tokens for each in inside))
        assert (line.first() is None) == (not inside)
