"""What one request does to the engines: whom it is sent to, and whose fault it was."""

from types import TracebackType

import pytest
from blake3 import blake3

from server.domain import Answer, Cost, MediaSlot, ReadyRequest
from server.engines.engine import Engine
from server.engines.pool import EnginePool
from server.engines.refusal import EngineAnsweredBadly, EngineOverloaded, EngineRefused
from server.engines.retry_budget import RetryBudget
from server.engines.tracing import UNTRACED, Traced
from server.errors import EngineError, EngineUnreachable, GatewayError, NoEngineReady
from server.metrics import Metrics
from server.permit import PermitMisused, issue
from tests.unit.engines.clock import Clock
from tests.unit.engines.lanes_of import make_group

COST = Cost(0, 0, 0)


class Sending:
    """An answer, or a failure."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    async def __aenter__(self) -> Answer:
        self._client.sent += 1
        if self._client.fails is not None:
            raise self._client.fails
        return Answer(200, "application/json", self._client.name, None)  # type: ignore[arg-type]

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.closed += 1


class Client:
    def __init__(self, name: str) -> None:
        self.name = name
        self.fails: GatewayError | None = None
        self.sent = self.closed = 0
        self.traced: list[Traced] = []

    def send(self, request: ReadyRequest, permit: object, traced: Traced = UNTRACED) -> Sending:
        self.traced.append(traced)
        return Sending(self)

    async def can_answer(self, model: str) -> bool:
        return True


class Scene:
    """A pool of `count` engines, all ready, in the order in which a request tries them."""

    def __init__(self, count: int, floor: int = 10) -> None:
        group = make_group("engine", count, "demo")
        self.metrics = Metrics()
        self.pool = EnginePool([group], lambda name, url: pytest.fail("nobody new"), 1, self.metrics)  # type: ignore[arg-type]
        self.pool.retries = RetryBudget(0, floor, clock=Clock())
        self.pool.lanes.remake()
        self.engines: list[Engine] = []
        while engine := self.pool.lanes.choose("demo", "ann", self.request().affinity, frozenset(self.engines)):
            self.engines.append(engine)
        self.clients = [Client(engine.name) for engine in self.engines]
        for engine, client in zip(self.engines, self.clients, strict=True):
            engine.client = client  # type: ignore[assignment]

    def request(self, *slots: MediaSlot) -> ReadyRequest:
        digest = blake3(b"x").hexdigest()
        return ReadyRequest("chat", "demo", False, COST, digest, (b"{}",), {}, "ann", slots=slots)

    async def ask(self, *slots: MediaSlot) -> str:
        """The engine's name, or the code of the failure."""
        permit = issue(COST)
        try:
            async with self.pool.relay(self.request(*slots), permit) as answer:
                assert sum(engine.running for engine in self.engines) == 1
                return answer.engine
        except GatewayError as problem:
            return problem.code
        finally:
            assert [engine.running for engine in self.engines] == [0] * len(self.engines)

    @property
    def sent(self) -> list[int]:
        return [client.sent for client in self.clients]

    @property
    def ready(self) -> list[bool]:
        return [engine.ready for engine in self.engines]


async def test_a_request_goes_to_its_engine_and_is_closed_there() -> None:
    scene = Scene(3)
    assert await scene.ask() == scene.engines[0].name
    assert (scene.sent, scene.clients[0].closed) == ([1, 0, 0], 1)


async def test_engines_that_cannot_be_reached_are_passed_by_and_out_at_once() -> None:
    scene = Scene(4)
    for client in scene.clients[:3]:
        client.fails = EngineUnreachable("nobody there")
    assert await scene.ask() == scene.engines[3].name
    assert (scene.sent, scene.ready) == ([1, 1, 1, 1], [False, False, False, True])


async def test_no_more_than_two_engines_are_ever_sent_a_request_that_fails() -> None:
    scene = Scene(4)
    for client in scene.clients:
        client.fails = EngineAnsweredBadly("500")
    for _ in range(6):
        assert await scene.ask() == "engine_failed"
    assert (scene.sent, scene.ready) == ([6, 6, 0, 0], [True] * 4)


async def test_an_engine_is_blamed_once_another_has_answered() -> None:
    scene = Scene(3)
    scene.clients[0].fails = EngineError("reset")
    for _ in range(5):
        assert await scene.ask() == scene.engines[1].name
    assert scene.ready == [False, True, True]
    assert await scene.ask() == scene.engines[1].name
    assert scene.sent == [5, 6, 0]


async def test_a_caller_that_is_at_fault_is_told_so_by_one_engine() -> None:
    scene = Scene(3)
    scene.clients[0].fails = EngineRefused("no")
    assert await scene.ask() == "rejected_by_engine"
    assert (scene.sent, scene.ready) == ([1, 0, 0], [True] * 3)


async def test_one_that_is_overloaded_is_nobodys_fault() -> None:
    scene = Scene(2)
    scene.clients[0].fails = EngineOverloaded("busy")
    for _ in range(9):
        assert await scene.ask() == scene.engines[1].name
    assert (scene.sent, scene.ready) == ([9, 9], [True, True])


async def test_without_budget_the_first_failure_is_the_answer() -> None:
    scene = Scene(2, floor=1)
    scene.clients[0].fails = EngineAnsweredBadly("500")
    assert [await scene.ask() for _ in range(3)] == [scene.engines[1].name, "engine_failed", "engine_failed"]
    assert scene.sent == [3, 1]


async def test_a_permit_is_spent_even_where_no_engine_is_ready() -> None:
    scene = Scene(1)
    scene.engines[0].put_out(at_fault=False)
    scene.pool.lanes.remake()
    permit = issue(COST)
    with pytest.raises(NoEngineReady):
        async with scene.pool.relay(scene.request(), permit):
            pass
    with pytest.raises(PermitMisused):
        permit.use()


async def test_requests_with_pictures_are_counted_once_by_whether_they_went_home() -> None:
    scene, slot = Scene(2), MediaSlot("d", 0, 0, 0, 1)
    await scene.ask()
    await scene.ask(slot)
    scene.clients[0].fails = EngineUnreachable("nobody there")
    await scene.ask(slot)  # sent home first, and found nobody there
    await scene.ask(slot)
    counted = {tuple(each.labels.values()): each.value for each in scene.metrics.affinity.collect()[0].samples}
    assert counted == {("home",): 2, ("spilled",): 1}
