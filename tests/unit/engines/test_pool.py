"""What a look at an engine makes of what it finds; everything else about pools is shown over real ports."""

from collections.abc import Callable, Mapping

import pytest

from server.engines.capacity import EngineReport
from server.engines.cards import Card
from server.engines.client import Reached
from server.engines.engine import Engine
from server.engines.group import Group
from server.engines.pool import EnginePool
from server.metrics import Metrics
from tests.unit.engines.lanes_of import make_group

CARDS = {"demo": Card(4096, "demo")}


class Client:
    """Healthy, and able to answer; `meanwhile` happens while it is asked for its models."""

    name = "engine-0"

    def __init__(self) -> None:
        self.meanwhile: Callable[[], None] = lambda: None
        self.probes = 0
        self.says: Reached = "healthy"
        self.told = EngineReport(0, 0)

    async def health(self) -> Reached:
        return self.says

    async def models(self) -> Mapping[str, Card]:
        self.meanwhile()
        return CARDS

    async def report(self) -> EngineReport:
        return self.told

    async def can_answer(self, model: str) -> bool:
        self.probes += 1
        return True


class Scene:
    """A pool of one engine, which is ready."""

    def __init__(self) -> None:
        self.group: Group = make_group("engine", 1, "demo")
        self.pool = EnginePool([self.group], lambda name, url: pytest.fail("nobody new"), 1, Metrics())  # type: ignore[arg-type]
        self.engine: Engine = next(iter(self.group.engines.values()))
        self.client = Client()
        self.engine.client = self.client  # type: ignore[assignment]
        self.pool.lanes.remake()

    async def look(self) -> None:
        await self.pool._check(self.group, self.engine)


async def test_an_engine_that_is_ready_is_asked_for_no_generation() -> None:
    scene = Scene()
    await scene.look()
    assert (scene.engine.ready, scene.client.probes) == (True, 0)


async def test_an_engine_that_is_out_proves_itself_by_a_generation() -> None:
    scene = Scene()
    scene.pool.suspect(scene.engine)
    await scene.look()
    assert (scene.engine.ready, scene.client.probes) == (True, 1)


async def test_one_that_is_put_out_while_it_is_looked_at_stays_out_for_its_time() -> None:
    scene = Scene()
    scene.pool.suspect(scene.engine)
    await scene.look()
    # The second time costs more than a proof, also where the look has begun before it.
    scene.client.meanwhile = lambda: scene.pool.suspect(scene.engine)
    await scene.look()
    assert (scene.engine.ready, scene.client.probes) == (False, 1)
    await scene.look()
    assert (scene.engine.ready, scene.client.probes) == (False, 1)


async def test_memory_that_has_changed_is_known_at_the_next_look() -> None:
    scene = Scene()
    await scene.look()
    assert scene.pool.most_tokens_of("demo") is None
    for tokens in (5000, 3000):
        scene.client.told = EngineReport(0, 0, most_tokens=tokens)
        await scene.look()
        assert scene.pool.most_tokens_of("demo") == tokens


async def test_an_engine_is_in_one_state_and_metrics_say_which() -> None:
    scene = Scene()
    scene.engine.show(scene.pool.metrics)

    def told() -> list[str]:
        (family,) = scene.pool.metrics.engine_state.collect()
        assert {each.labels["engine"] for each in family.samples} == {"engine-0"}
        return [each.labels["state"] for each in family.samples if each.value]

    assert told() == ["ready"]
    scene.pool.suspect(scene.engine)
    assert told() == ["ejected"]
    for scene.client.says in ("unreachable", "unhealthy"):
        await scene.look()
        assert told() == [scene.client.says]
    scene.client.says = "healthy"
    scene.client.meanwhile = lambda: seen.extend(told())
    seen: list[str] = []
    await scene.look()
    assert (seen, told()) == (["starting"], ["ready"])
    scene.engine.hide(scene.pool.metrics)
    assert [family.samples for family in scene.pool.metrics.engine_state.collect()] == [[]]


async def test_what_an_engine_told_last_of_its_memory_and_queue_is_shown_once_it_has_told() -> None:
    scene = Scene()
    metrics = scene.pool.metrics
    scene.engine.show(metrics)

    def told() -> list[float]:
        families = [*metrics.engine_kv_usage.collect(), *metrics.engine_waiting.collect()]
        return [each.value for family in families for each in family.samples]

    assert told() == []
    scene.client.told = EngineReport(4, 7)
    await scene.look()
    assert told() == [7]
    scene.client.told = EngineReport(4, 0, kv_usage=0.25)
    await scene.look()
    assert told() == [0.25, 0]
