import asyncio
from collections.abc import Sequence
from typing import Any

from server.engines import forgetting
from server.engines.engine import Engine
from server.engines.forgetting import MOST_AT_ONCE, MOST_PENDING, ForgettingEngines
from server.engines.health import Health, HealthRules
from server.errors import EngineError
from server.metrics import Metrics


class Client:
    """Answers these statuses in turn, then 200; None is an engine that cannot be reached."""

    def __init__(self, *statuses: int | None) -> None:
        self.name = "engine-0"
        self.statuses = list(statuses)
        self.told: list[list[str]] = []

    async def forget(self, digests: Sequence[str]) -> int:
        self.told.append(list(digests))
        await asyncio.sleep(0)
        status = self.statuses.pop(0) if self.statuses else 200
        if status is None:
            raise EngineError("gone")
        return status


class Telling:
    def __init__(self, *statuses: int | None) -> None:
        self.metrics = Metrics()
        self.client = Client(*statuses)
        self.engine = Engine(self.client, "http://e", Health(HealthRules()))  # type: ignore[arg-type]
        self.engines = ForgettingEngines(self.metrics, pauses_s=(0.0, 0.0))

    async def tell(self, *lists: Sequence[str]) -> dict[str, float]:
        """What was counted, once there is nothing left to do."""
        for names in lists:
            self.engines.forget([self.engine], names)
        while self.engines._tasks:
            await asyncio.sleep(0)
        samples = next(iter(self.metrics.embeddings_forgotten.collect())).samples
        return {sample.labels["outcome"]: sample.value for sample in samples}


async def test_all_is_told_in_requests_that_an_engine_takes() -> None:
    telling = Telling()
    names = [str(number) for number in range(2 * MOST_AT_ONCE + 1)]
    assert await telling.tell(names) == {"forgotten": len(names)}
    assert [len(each) for each in telling.client.told] == [MOST_AT_ONCE, MOST_AT_ONCE, 1]


async def test_what_is_asked_for_while_it_is_told_is_told_too() -> None:
    telling = Telling()
    assert await telling.tell(["a", "b"], ["b", "c"]) == {"forgotten": 3}


async def test_an_engine_that_fails_is_told_again_and_then_given_up() -> None:
    assert await Telling(None, 503).tell(["a"]) == {"failed": 2, "forgotten": 1}
    assert await Telling(None, 503, None).tell(["a", "b"]) == {"failed": 6, "given_up": 2}


async def test_an_engine_that_left_is_told_no_more() -> None:
    telling = Telling(None)
    telling.engine.left = True
    assert await telling.tell(["a"]) == {"failed": 1, "given_up": 1}


async def test_stock_vllm_keeps_nothing() -> None:
    assert await Telling(404).tell(["a"]) == {"none_kept": 1}
    assert await Telling(405).tell(["a"]) == {"none_kept": 1}


async def test_what_waits_is_bounded() -> None:
    names = [str(number) for number in range(MOST_PENDING + 3)]
    assert await Telling().tell(names) == {"forgotten": MOST_PENDING, "given_up": 3}


async def test_closing_waits_a_moment_and_counts_what_was_not_told(monkeypatch: Any) -> None:
    monkeypatch.setattr(forgetting, "CLOSING_S", 0.05)
    telling = Telling(None)
    telling.engines = ForgettingEngines(telling.metrics, pauses_s=(60.0,))
    telling.engines.forget([telling.engine], ["a"])
    await telling.engines.close()
    assert await telling.tell() == {"failed": 1, "given_up": 1}
