import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from server.admission.brake import Load
from server.admission.gate import Admission, Gate
from server.domain import PRIORITIES, Cost, Priority, Tenant, Terms
from server.errors import DeadlineExceeded, QueueFull, WaitedTooLong, WaitTooLong
from server.metrics import Metrics
from server.permit import PermitMisused
from tests.unit.admission.gating import make_gate
from tests.unit.admission.virtual import VirtualLoop


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()


def admission(
    gate: Gate,
    tokens: int = 10,
    tenant: str = "ann",
    priority: Priority = "standard",
    deadline: float | None = None,
) -> Admission:
    return gate.admit(Cost(0, 0, tokens), Tenant(tenant), Terms(priority, deadline))


def enter(loop: VirtualLoop, gate: Gate, *args: Any, **kwargs: Any) -> asyncio.Task[str]:
    """A request that asks to be let in, and has had its turn; its result is how long that took."""

    async def live() -> str:
        began = loop.time()
        async with admission(gate, *args, **kwargs):
            waited = loop.time() - began
            await asyncio.sleep(1)
        return f"{waited:g} s"

    task = loop.create_task(live())
    loop.turn(2)
    return task


def test_no_more_run_at_once_than_there_are_places(loop: VirtualLoop) -> None:
    gate = make_gate(loop.time, places=3)
    tasks = [enter(loop, gate) for _ in range(7)]
    assert (gate.books.places, gate.line.count) == (3, 4)
    assert loop.run(asyncio.gather(*tasks)) == ["0 s"] * 3 + ["1 s"] * 3 + ["2 s"]


def test_a_request_takes_as_much_again_only_where_there_is_room_and_nobody_waits(loop: VirtualLoop) -> None:
    gate = make_gate(loop.time, places=3, tokens=100)
    assert not gate.take_more(10)  # nobody is in
    first = enter(loop, gate, 60)
    assert (gate.take_more(41), gate.take_more(40)) == (False, True)
    assert (gate.books.places, gate.books.tokens) == (2, 100)
    waits = enter(loop, gate, 60)
    assert gate.line.count == 1
    gate.books.give(40)  # without waking: there is room, and somebody waits for it
    assert not gate.take_more(1)
    loop.run(asyncio.gather(first, waits))
    assert (gate.books.places, gate.books.tokens) == (0, 0)


def test_requests_hold_what_they_cost_while_they_run(loop: VirtualLoop) -> None:
    gate = make_gate(loop.time, tokens=100)
    tasks = [enter(loop, gate, 60), enter(loop, gate, 40), enter(loop, gate, 1)]
    assert (gate.books.tokens, gate.line.count) == (100, 1)
    assert loop.run(asyncio.gather(*tasks)) == ["0 s", "0 s", "1 s"]
    assert gate.books.tokens == 0


def test_an_answer_without_a_bound_is_taken_to_be_of_some_length() -> None:
    gate = make_gate(lambda: 0)
    assert gate.hold_of(Cost(30, 20, 0)) == 100  # 50 of them the setting's
    assert gate.hold_of(Cost(30, 20, 7)) == 57


def test_what_every_request_takes_in_an_engine_is_held_too() -> None:
    gate = make_gate(lambda: 0)
    gate.refresh(Load(1, 1000, each_tokens=40))
    assert gate.hold_of(Cost(1, 2, 3)) == 46


def test_what_costs_more_than_all_there_is_goes_alone(loop: VirtualLoop) -> None:
    gate = make_gate(loop.time, tokens=100)
    tasks = [enter(loop, gate, 10), enter(loop, gate, 500), enter(loop, gate, 10)]
    assert loop.run(asyncio.gather(*tasks)) == ["0 s", "1 s", "2 s"]


def test_nobody_small_overtakes_a_costly_request_that_waits(loop: VirtualLoop) -> None:
    gate = make_gate(loop.time, tokens=100)
    tasks = [enter(loop, gate, 50), enter(loop, gate, 90), *(enter(loop, gate, 20) for _ in range(3))]
    assert loop.run(asyncio.gather(*tasks)) == ["0 s", "1 s", "2 s", "2 s", "2 s"]


@pytest.mark.parametrize("leaving", ["caller", "time"])
def test_when_the_first_in_line_leaves_the_next_is_let_in_if_it_fits(loop: VirtualLoop, leaving: str) -> None:
    gate = make_gate(loop.time, tokens=100)
    enter(loop, gate, 50)
    first = enter(loop, gate, 90, deadline=loop.time() + 0.5)
    second = enter(loop, gate, 20)
    if leaving == "caller":
        first.cancel()
        loop.turn(3)
    else:
        loop.run(asyncio.sleep(0.6))
        assert isinstance(first.exception(), WaitedTooLong)
    assert gate.books.tokens == 70
    assert loop.run(second) == ("0 s" if leaving == "caller" else "0.5 s")


def test_a_full_line_is_refused_at_once_with_retry_after(loop: VirtualLoop) -> None:
    gate = make_gate(loop.time, places=1, max_waiting=1)
    tasks = [enter(loop, gate), enter(loop, gate), enter(loop, gate)]
    refusal = tasks[2].exception()
    assert isinstance(refusal, QueueFull)
    assert 1 <= refusal.retry_after_s <= 60
    assert loop.run(asyncio.gather(*tasks[:2])) == ["0 s", "1 s"]


def test_in_a_full_line_who_has_most_in_it_gives_way_to_who_has_less(loop: VirtualLoop) -> None:
    gate = make_gate(loop.time, places=1, max_waiting=4)
    flood = [enter(loop, gate, tenant="flood") for _ in range(5)]
    quiet = enter(loop, gate, tenant="quiet")
    assert isinstance(flood[4].exception(), QueueFull)  # the last that came
    assert loop.run(quiet) == "2 s"
    assert not any(task.done() and task.exception() for task in flood[:4])
    loop.run(asyncio.gather(*flood[:4]))


def test_a_line_that_all_share_alike_gives_nobody_away(loop: VirtualLoop) -> None:
    gate = make_gate(loop.time, places=1, max_waiting=2)
    tasks = [enter(loop, gate, tenant=tenant) for tenant in ("a", "b", "c", "d")]
    assert isinstance(tasks[3].exception(), QueueFull)
    loop.run(asyncio.gather(*tasks[:3]))


def test_waiting_ends_at_the_requests_deadline_or_else_by_the_setting(loop: VirtualLoop) -> None:
    gate = make_gate(loop.time, places=1, wait_timeout_s=0.5)
    enter(loop, gate)
    patient = enter(loop, gate, deadline=loop.time() + 30)
    tasks = [enter(loop, gate), enter(loop, gate, deadline=loop.time() + 0.25)]
    done, _ = loop.run(asyncio.wait(tasks))
    told = [str(task.exception()) for task in tasks]
    assert ["within 0.5 s" in told[0], "within 0.25 s" in told[1]] == [True, True]
    assert all(isinstance(task.exception(), WaitedTooLong) for task in done)
    assert loop.run(patient) == "1 s"


def test_who_comes_too_late_does_not_wait(loop: VirtualLoop) -> None:
    gate = make_gate(loop.time, places=1)
    enter(loop, gate)
    assert isinstance(enter(loop, gate, deadline=loop.time() - 1).exception(), DeadlineExceeded)


async def seconds(loop: VirtualLoop, gate: Gate, count: int, load: Load) -> None:
    for _ in range(count):
        await asyncio.sleep(1)
        gate.refresh(load)


def test_retry_after_is_what_waits_by_the_rate_at_which_room_comes_free(loop: VirtualLoop) -> None:
    gate = make_gate(loop.time, places=2, wait_timeout_s=1000)
    tasks = [enter(loop, gate, 10, tenant=f"t{number}") for number in range(60)]
    loop.run(seconds(loop, gate, 15, Load(1)))
    assert gate.drain.per_second == pytest.approx(20, rel=0.2)  # two a second, of ten tokens each
    waiting = gate.line.tokens
    assert gate.retry_after_s(10) == pytest.approx((waiting + 10) / 20, abs=3)
    loop.run(asyncio.gather(*tasks))


def test_retry_after_is_bounded_and_known_to_be_unknown(loop: VirtualLoop) -> None:
    gate = make_gate(loop.time, places=1, wait_timeout_s=1000)
    assert gate.retry_after_s(10) == 2
    tasks = [enter(loop, gate, 10) for _ in range(90)]
    loop.run(seconds(loop, gate, 12, Load(1)))
    assert gate.retry_after_s(10) == 60
    for task in tasks:
        task.cancel()
    loop.run(asyncio.gather(*tasks, return_exceptions=True))


def test_a_wait_that_is_sure_to_be_too_long_is_not_begun(loop: VirtualLoop) -> None:
    gate = make_gate(loop.time, places=1, wait_timeout_s=1000)
    flood = [enter(loop, gate, 10, tenant="flood") for _ in range(90)]
    loop.run(seconds(loop, gate, 12, Load(1)))
    soon = loop.time() + 5
    assert isinstance(enter(loop, gate, 10, tenant="flood", deadline=soon).exception(), WaitTooLong)
    quiet = enter(loop, gate, 10, tenant="quiet", deadline=soon)  # what floods is not ahead of everybody
    assert float(loop.run(quiet).removesuffix(" s")) <= 2
    for task in flood:
        task.cancel()
    loop.run(asyncio.gather(*flood, return_exceptions=True))


@pytest.mark.parametrize("failure", [ValueError, asyncio.CancelledError])
async def test_what_is_held_is_freed_however_the_block_ends(failure: type[BaseException]) -> None:
    gate = make_gate(asyncio.get_running_loop().time, places=1, max_waiting=0)
    for _ in range(3):
        entered = admission(gate)
        permit = await entered.__aenter__()
        assert (permit.cost, gate.books.tokens) == (Cost(0, 0, 10), 10)
        await entered.__aexit__(failure, failure(), None)
        with pytest.raises(PermitMisused):
            permit.use()
    assert (gate.books.places, gate.books.tokens) == (0, 0)


async def test_a_request_is_admitted_once() -> None:
    gate = make_gate(asyncio.get_running_loop().time)
    entered = admission(gate)
    async with entered:
        with pytest.raises(PermitMisused):
            await entered.__aenter__()
    assert gate.books.places == 0


def test_who_is_let_in_and_leaves_at_that_moment_gives_it_back(loop: VirtualLoop) -> None:
    gate = make_gate(loop.time, places=1)
    first, second, third = (enter(loop, gate, tenant=tenant) for tenant in "abc")
    loop.run(asyncio.sleep(0.99))
    first.cancel()  # its clean-up will let the second in
    second.cancel()
    assert loop.run(third) == "0.99 s"
    assert gate.books.places == 0


def test_more_room_lets_in_who_waits_for_it(loop: VirtualLoop) -> None:
    gate = make_gate(loop.time, tokens=100)
    tasks = [enter(loop, gate, 60) for _ in range(3)]
    gate.refresh(Load(2, 200))
    assert gate.line.count == 0
    assert loop.run(asyncio.gather(*tasks)) == ["0 s"] * 3


def test_waits_are_measured_of_those_who_had_to(loop: VirtualLoop) -> None:
    metrics = Metrics()
    gate = make_gate(loop.time, places=1, metrics=metrics)
    tasks = [enter(loop, gate), enter(loop, gate, priority="batch")]
    loop.run(asyncio.gather(*tasks))
    name = "fovea_admission_wait_seconds"
    found = {
        p: metrics.registry.get_sample_value(f"{name}_sum", {"model": "demo", "priority": p})
        for p in ("standard", "batch")
    }
    assert found == {"standard": 0, "batch": 1}


def test_who_waits_in_vain_or_comes_too_late_is_counted_and_nobody_else(loop: VirtualLoop) -> None:
    metrics = Metrics()
    gate = make_gate(loop.time, places=1, metrics=metrics)
    enter(loop, gate)
    in_time = enter(loop, gate)
    for priority in ("batch", "batch", "interactive"):
        enter(loop, gate, priority=priority, deadline=loop.time() + 0.5)
    enter(loop, gate, deadline=loop.time() - 1)
    loop.run(in_time)
    name = "fovea_admission_deadline_misses_total"
    found = [
        metrics.registry.get_sample_value(name, {"model": "demo", "priority": priority}) for priority in PRIORITIES
    ]
    assert found == [1, 1, 2]


def test_where_nobody_waits_a_request_costs_few_steps() -> None:
    """Functions that are called, ours and the interpreter's: none of asyncio's are among them."""
    gate = make_gate(lambda: 0.0, tokens=1000)
    cost, tenant, terms = Cost(1, 2, 3), Tenant("ann"), Terms()
    calls: list[str] = []

    def note(frame: Any, event: str, argument: Any) -> None:
        if event in ("call", "c_call"):
            calls.append(frame.f_code.co_name if event == "call" else argument.__name__)

    entered = gate.admit(cost, tenant, terms)
    sys.setprofile(note)
    for step in (entered.__aenter__(), entered.__aexit__()):
        try:
            step.send(None)
        except StopIteration:
            continue
        raise AssertionError("it waited")
    sys.setprofile(None)
    assert len([call for call in calls if call not in ("send", "setprofile")]) <= 10, calls
