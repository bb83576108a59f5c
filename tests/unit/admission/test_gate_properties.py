"""Whatever arrives, leaves, fails, times out or shrinks, in whatever order: in the end nothing is held.

Tasks are real, time is not (tests/unit/admission/virtual.py); requests are cancelled at every await that they have.
"""

import asyncio
import itertools
import logging

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from server.admission.brake import Load
from server.admission.gate import Admission
from server.domain import PRIORITIES, Cost, Priority, Tenant, Terms
from server.errors import DeadlineExceeded, QueueFull, WaitedTooLong, WaitTooLong
from server.permit import Permit, PermitMisused
from tests.unit.admission.gating import make_gate
from tests.unit.admission.virtual import VirtualLoop

MAX_WAITING = 5
REFUSED = (QueueFull, WaitedTooLong, WaitTooLong, DeadlineExceeded)


class Failed(Exception):
    pass


class Request:
    def __init__(self, number: int, admission: Admission, tokens: int, flow: tuple[str, Priority]) -> None:
        self.number, self.admission, self.tokens, self.flow = number, admission, tokens, flow
        self.permit: Permit | None = None
        self.inside = False
        self.end: asyncio.Future[Failed | None] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._live())

    async def _live(self) -> None:
        async with self.admission as permit:
            permit.use()
            self.permit, self.inside = permit, True
            try:
                if problem := await self.end:
                    raise problem
            finally:
                self.inside = False


class Requests(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.gate = make_gate(self.loop.time, places=3, tokens=100, max_waiting=MAX_WAITING, wait_timeout_s=20)
        self.requests: list[Request] = []
        self.numbers = itertools.count()
        self.complaints: list[str] = []
        self.loop.set_exception_handler(lambda _, context: self.complaints.append(str(context["message"])))

    @rule(
        count=st.integers(1, 3),
        tenant=st.sampled_from("abc"),
        priority=st.sampled_from(PRIORITIES),
        tokens=st.integers(1, 150),
        timeout_s=st.none() | st.sampled_from([-1.0, 0.5, 10.0]),
        weight=st.sampled_from([0.01, 1.0, 100.0]),
    )
    def arrive(
        self, count: int, tenant: str, priority: Priority, tokens: int, timeout_s: float | None, weight: float
    ) -> None:
        async def make() -> None:
            deadline = None if timeout_s is None else self.loop.time() + timeout_s
            who = Tenant(tenant, weight=weight)
            admission = self.gate.admit(Cost(0, 0, tokens), who, Terms(priority, deadline))
            self.requests.append(Request(next(self.numbers), admission, tokens, (tenant, priority)))

        for _ in range(count):
            self.loop.run(make())

    @rule(several=st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["end", "fail", "leave"])), min_size=1))
    def depart(self, several: list[tuple[int, str]]) -> None:
        """All in one turn of the loop: some are let in by those before them, and leave at that moment."""
        for which, how in several if self.requests else []:
            request = self.requests[which % len(self.requests)]
            if how == "leave":
                request.task.cancel()
            elif not request.end.done() and how == "fail":
                request.end.set_result(Failed())
            elif not request.end.done():
                request.end.set_result(None)

    @rule(which=st.integers(0, 9))
    def close_again(self, which: int) -> None:
        done = [request for request in self.requests if request.permit is not None and not request.inside]
        if done:
            request = done[which % len(done)]
            self.loop.run(request.admission.__aexit__())
            assert request.permit is not None
            for misuse in (request.permit.use, request.permit.check):
                try:
                    misuse()
                except PermitMisused:
                    continue
                raise AssertionError("a permit lived on")

    @rule(tokens=st.none() | st.integers(1, 300), usage=st.none() | st.floats(0, 1), waiting=st.integers(0, 9))
    def report(self, tokens: int | None, usage: float | None, waiting: int) -> None:
        self.gate.refresh(Load(1, tokens, usage, self.gate.books.places, waiting))

    @rule()
    def no_engine_reports(self) -> None:
        self.gate.refresh(Load())

    @rule(times=st.integers(1, 4))
    def turn(self, times: int) -> None:
        self.loop.turn(times)

    @rule(seconds=st.sampled_from([0.4, 1, 15]))
    def time_passes(self, seconds: float) -> None:
        self.loop.run(asyncio.sleep(seconds))

    @invariant()
    def the_line_is_bounded_and_books_are_never_negative(self) -> None:
        assert self.gate.line.count <= MAX_WAITING
        assert self.gate.books.places >= 0
        assert self.gate.books.tokens >= 0

    @invariant()
    def nobody_waits_for_an_idle_pool(self) -> None:
        assert self.gate.books.places or not self.gate.line.count

    @invariant()
    def once_all_is_quiet_the_books_say_what_is_so(self) -> None:
        self.loop.turn(6)
        inside = [request for request in self.requests if request.inside]
        waiting = [request for request in self.requests if not request.task.done() and not request.inside]
        assert self.gate.books.places == len(inside)
        assert self.gate.books.tokens == sum(request.tokens for request in inside)
        assert self.gate.line.count == len(waiting)
        assert sum(self.gate.line.waiting(priority) for priority in PRIORITIES) == len(waiting)
        assert self.gate.line.tokens == sum(request.tokens for request in waiting)
        for request in self.requests:
            earlier = [w for w in waiting if w.flow == request.flow and w.number < request.number]
            assert not (request.inside and earlier), "a later request of the same tenant and class went first"
        first = self.gate.line.first()
        assert first is None or not self.gate.fits(first.tokens), "somebody waits for what is there"
        self._drop_ended()

    def _drop_ended(self) -> None:
        for request in [r for r in self.requests if r.task.done() and not r.permit]:
            assert request.task.cancelled() or isinstance(request.task.exception(), REFUSED)
            self.requests.remove(request)

    def teardown(self) -> None:
        for request in self.requests:
            if not request.end.done():
                request.end.set_result(None)
        tasks = [request.task for request in self.requests]
        if tasks:
            ended, hung = self.loop.run(asyncio.wait(tasks, timeout=3600))
            assert not hung, "somebody was never let in, nor refused"
            for task in ended:
                if not task.cancelled() and task.exception():
                    assert isinstance(task.exception(), (Failed, *REFUSED))
        assert (self.gate.books.places, self.gate.books.tokens, self.gate.line.count) == (0, 0, 0)
        assert (self.gate.line.tokens, self.gate.line.longest()) == (0, None)
        assert not self.complaints
        self.loop.close()


class RequestsInOneTurn(Requests):
    """The same, and no turn between two steps unless a rule makes one: cancelled where it has just been let in."""

    once_all_is_quiet_the_books_say_what_is_so = None  # type: ignore[assignment]


logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # what is left of a failing example is no news
Requests.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
RequestsInOneTurn.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
test_after_every_step_the_books_are_right = Requests.TestCase
test_nothing_is_held_in_the_end_whatever_falls_together = RequestsInOneTurn.TestCase
