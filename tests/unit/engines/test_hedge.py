"""What a request does that is sent to a second engine, because the first is slow to begin."""

import asyncio
from collections.abc import Callable
from types import TracebackType

import pytest

from server.domain import Answer, Payload, ReadyRequest, Route
from server.engines.hedge import HedgedRelay
from server.engines.refusal import EngineAnsweredBadly, EngineOverloaded, EngineRefused
from server.engines.relay import Relay
from server.engines.retry_budget import RetryBudget
from server.engines.tracing import UNTRACED, Traced
from server.errors import (
    DeadlineExceeded,
    EngineError,
    EngineUnreachable,
    GatewayError,
    NoEngineReady,
    TotalTimeout,
)
from server.permit import issue
from tests.unit.engines.clock import Clock
from tests.unit.engines.test_relay import COST, Scene

AFTER_S = 0.001


class Held:
    """A client whose answer, or failure, comes when it is told."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.says: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sent: list[Payload] = []
        self.closed = self.cut = self.probes = 0

    def send(self, request: ReadyRequest, permit: object, traced: Traced = UNTRACED) -> "Held":
        self.sent.append(request.payload)
        return self

    async def __aenter__(self) -> Answer:
        try:
            await self.says
        except asyncio.CancelledError:
            self.cut += 1
            raise
        return Answer(200, "application/json", self.name, None)  # type: ignore[arg-type]

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closed += 1

    async def can_answer(self, model: str) -> bool:
        self.probes += 1
        return True


class Room:
    """A gate with `spare` places."""

    def __init__(self, spare: int = 1) -> None:
        self.spare = spare

    def take_more(self, tokens: int) -> bool:
        assert tokens == 7
        self.spare -= 1
        return self.spare >= 0

    def give(self, tokens: int) -> None:
        assert tokens == 7
        self.spare += 1


class Race(Scene):
    """The first two engines that a request tries are `first` and `second`."""

    def __init__(self, count: int = 2, floor: int = 10, room: Room | None = None, after_s: float = AFTER_S) -> None:
        super().__init__(count, floor)
        self.pool._hedge_after_s = after_s
        self.held = [Held(engine.name) for engine in self.engines]
        for engine, client in zip(self.engines, self.held, strict=True):
            engine.client = client  # type: ignore[assignment]
        self.first, self.second = self.held[:2]
        self.room = room or Room()
        self.spare = self.room.spare

    async def ask_once(self, route: Route = "chat") -> str:
        permit = issue(COST, self.room, 7)
        request = self.request()
        request.route = route
        try:
            async with self.pool.relay(request, permit) as answer:
                assert sum(engine.running for engine in self.engines) == 1
                assert self.room.spare == self.spare
                return answer.engine
        except GatewayError as problem:
            return f"{problem.code}: {problem.message}"
        finally:
            permit.close()

    def begin(self) -> "asyncio.Task[str]":
        return asyncio.create_task(self.ask_once())

    async def both_sent(self) -> None:
        await until(lambda: len(self.first.sent) == 1 and len(self.second.sent) == 1)

    def is_over(self) -> bool:
        """Nothing runs anywhere, and the gate has all back."""
        return [engine.running for engine in self.engines] == [0] * len(self.engines) and (
            self.room.spare == self.spare
        )

    def counts(self) -> tuple[float, float]:
        metrics = self.metrics
        return metrics.hedges._value.get(), metrics.hedges_won._value.get()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def test_the_second_engine_answers_and_the_first_one_is_cut_off_and_asked_whether_it_hangs() -> None:
    race = Race()
    asked = race.begin()
    await race.both_sent()
    race.second.says.set_result(None)
    assert await asked == race.second.name
    assert (race.first.cut, race.first.closed, race.second.cut, race.second.closed) == (1, 0, 0, 1)
    assert race.counts() == (1, 1)
    assert race.is_over()
    await until(lambda: race.first.probes == 1)
    assert race.second.probes == 0


async def test_the_first_engine_answers_after_all_and_the_second_one_is_cut_off() -> None:
    race = Race()
    asked = race.begin()
    await race.both_sent()
    race.first.says.set_result(None)
    assert await asked == race.first.name
    assert (race.first.cut, race.first.closed, race.second.cut, race.second.closed) == (0, 1, 1, 0)
    assert race.counts() == (1, 0)
    assert race.is_over()


async def test_where_both_answer_in_the_same_moment_the_first_ones_counts_and_the_other_is_closed() -> None:
    race = Race()
    asked = race.begin()
    await race.both_sent()
    for each in race.held:
        each.says.set_result(None)
    assert await asked == race.first.name
    assert (race.first.closed, race.second.closed, race.second.cut) == (1, 1, 0)
    assert race.is_over()


async def test_a_quick_engine_is_the_only_one_that_is_asked() -> None:
    race = Race(after_s=60)
    race.first.says.set_result(None)
    assert await race.ask_once() == race.first.name
    assert (race.second.sent, race.counts()) == ([], (0, 0))


async def test_off_is_an_ordinary_relay() -> None:
    race = Race(after_s=0)
    assert type(race.pool.relay(race.request(), issue(COST))) is Relay
    race = Race(after_s=1)
    assert type(race.pool.relay(race.request(), issue(COST))) is HedgedRelay


@pytest.mark.parametrize("route", ["tokenize", "detokenize"])
async def test_what_takes_no_generation_is_sent_once(route: Route) -> None:
    race = Race()
    request = race.request()
    request.route = route
    assert type(race.pool.relay(request, issue(COST))) is Relay


@pytest.mark.parametrize("failure", [EngineAnsweredBadly("2nd"), EngineRefused("2nd"), EngineUnreachable("2nd")])
async def test_where_both_fail_the_first_ones_error_is_the_answer(failure: GatewayError) -> None:
    race = Race()
    asked = race.begin()
    await race.both_sent()
    race.second.says.set_exception(failure)
    await asyncio.sleep(0.01)
    assert not asked.done()
    race.first.says.set_exception(EngineAnsweredBadly("1st"))
    assert await asked == "engine_failed: 1st"
    assert race.is_over()
    assert race.first.sent == race.second.sent == [(b"{}",)]


async def test_a_first_engine_that_fails_meanwhile_is_replaced_by_the_second_and_no_third_is_asked() -> None:
    race = Race(3)
    for failures in range(1, 6):
        asked = race.begin()
        await until(lambda n=failures: len(race.second.sent) == n)
        race.first.says.set_exception(EngineError("reset"))
        await asyncio.sleep(0.005)
        assert not asked.done()
        race.second.says.set_result(None)
        assert await asked == race.second.name
        for each in (race.first, race.second):
            each.says = asyncio.get_running_loop().create_future()
    assert race.held[2].sent == []
    assert race.ready == [False, True, True]  # five faults of its own, each of which another has answered
    assert race.is_over()


@pytest.mark.parametrize("failure", [EngineRefused("1st"), DeadlineExceeded("1st"), TotalTimeout("1st")])
async def test_what_is_no_engines_failure_is_an_answer(failure: GatewayError) -> None:
    race = Race()
    asked = race.begin()
    await race.both_sent()
    race.first.says.set_exception(failure)
    assert (await asked).endswith(": 1st")
    assert race.second.cut == 1
    assert race.is_over()


async def test_one_that_sheds_load_is_replaced_and_not_blamed() -> None:
    race = Race()
    asked = race.begin()
    await race.both_sent()
    race.first.says.set_exception(EngineOverloaded("busy"))
    race.second.says.set_result(None)
    assert await asked == race.second.name
    assert race.engines[0].health.failed() is False


async def test_a_second_engine_that_cannot_be_reached_is_out_and_the_first_goes_on() -> None:
    race = Race()
    asked = race.begin()
    await race.both_sent()
    race.second.says.set_exception(EngineUnreachable("gone"))
    await until(lambda: race.ready == [True, False])
    race.first.says.set_result(None)
    assert await asked == race.first.name
    assert race.is_over()


async def test_a_caller_that_leaves_cuts_off_both() -> None:
    race = Race()
    asked = race.begin()
    await race.both_sent()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert (race.first.cut, race.second.cut) == (1, 1)
    assert race.is_over()


async def test_a_caller_that_leaves_before_anybody_is_slow_cuts_off_the_first() -> None:
    race = Race(after_s=60)
    asked = race.begin()
    await until(lambda: len(race.first.sent) == 1)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert race.first.cut == 1
    assert race.is_over()


async def test_an_answer_that_comes_as_its_caller_leaves_is_closed() -> None:
    race = Race()
    asked = race.begin()
    await race.both_sent()
    race.second.says.set_result(None)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert race.second.closed + race.second.cut == 1
    assert race.is_over()


async def test_without_budget_nobody_else_is_asked() -> None:
    race = Race(floor=0)
    asked = race.begin()
    await until(lambda: len(race.first.sent) == 1)
    await asyncio.sleep(10 * AFTER_S)
    race.first.says.set_result(None)
    assert await asked == race.first.name
    assert (race.second.sent, race.counts()) == ([], (0, 0))
    assert race.is_over()


async def test_without_room_at_the_gate_nobody_else_is_asked_and_the_budget_stays() -> None:
    race = Race(room=Room(0))
    race.pool.retries = RetryBudget(0, 1, clock=Clock())
    race.room.take_more = lambda tokens: False  # type: ignore[method-assign]
    asked = race.begin()
    await asyncio.sleep(10 * AFTER_S)
    race.first.says.set_result(None)
    assert await asked == race.first.name
    assert race.second.sent == []
    assert race.pool.retries.take()


async def test_a_lone_engine_has_no_second() -> None:
    race = Race(3)
    for engine in race.engines[1:]:
        engine.put_out(at_fault=False)
    race.pool.lanes.remake()
    asked = race.begin()
    await asyncio.sleep(10 * AFTER_S)
    race.first.says.set_result(None)
    assert await asked == race.first.name
    assert race.counts() == (0, 0)


async def test_where_no_engine_is_ready_that_is_said_at_once() -> None:
    race = Race()
    for engine in race.engines:
        engine.put_out(at_fault=False)
    race.pool.lanes.remake()
    with pytest.raises(NoEngineReady):
        async with race.pool.relay(race.request(), issue(COST, race.room, 7)):
            pass


async def test_a_bug_in_the_second_is_not_kept_quiet() -> None:
    race = Race()
    asked = race.begin()
    await race.both_sent()
    race.second.says.set_exception(ZeroDivisionError())
    await asyncio.sleep(0.005)
    race.first.says.set_result(None)
    with pytest.raises(ZeroDivisionError):
        await asked
    assert race.first.closed == 1
    assert race.is_over()
