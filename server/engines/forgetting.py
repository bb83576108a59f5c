"""Tells engines which pictures to forget, in the background, until they have or are given up."""

import asyncio
import logging
from collections.abc import Iterable

from server.engines.client import EngineClient
from server.engines.engine import Engine
from server.errors import EngineError
from server.metrics import Metrics

log = logging.getLogger("fovea.engines")

# As many as an engine takes in one request.
MOST_AT_ONCE = 1000
MOST_PENDING = 10_000
MOST_ENGINES_AT_ONCE = 4
# After each failure; an engine that restarts is back before the last.
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
CLOSING_S = 2.0


class ForgettingEngines:
    """Each engine has its own list and, while there is something on it, a task: a slow one holds up nobody else."""

    def __init__(self, metrics: Metrics, pauses_s: tuple[float, ...] = PAUSES_S) -> None:
        self._counts = metrics.embeddings_forgotten
        self._pauses_s = pauses_s
        self._places = asyncio.Semaphore(MOST_ENGINES_AT_ONCE)
        self._pending: dict[Engine, dict[str, None]] = {}
        self._tasks: dict[Engine, asyncio.Task[None]] = {}

    def forget(self, engines: Iterable[Engine], names: Iterable[str]) -> None:
        """Nobody waits for it."""
        names = list(names)
        for engine in engines:
            if engine.held is not None:
                engine.held.forget(names)
            pending = self._pending.setdefault(engine, {})
            fit = names[: MOST_PENDING - len(pending)]
            pending.update(dict.fromkeys(fit))
            self._give_up(len(names) - len(fit))
            if engine not in self._tasks:
                self._tasks[engine] = asyncio.create_task(self._tell(engine, pending), name="forgetting")

    async def close(self) -> None:
        """What has been asked for a moment ago is still told."""
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSING_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _tell(self, engine: Engine, pending: dict[str, None]) -> None:
        try:
            for pause_s in (*self._pauses_s, None):
                if await self._tell_all(engine.client, pending) or engine.left or pause_s is None:
                    break
                await asyncio.sleep(pause_s)
            if pending:
                log.warning("%s was not told to forget %d pictures of deleted files", engine.name, len(pending))
        finally:
            self._give_up(len(pending))
            del self._tasks[engine], self._pending[engine]

    async def _tell_all(self, client: EngineClient, pending: dict[str, None]) -> bool:
        """Whether there is nothing left to tell."""
        while pending:
            names = list(pending)[:MOST_AT_ONCE]
            async with self._places:
                outcome = await tell(client, names)
            self._counts.labels(outcome).inc(len(names))
            if outcome == "failed":
                return False
            for name in names:
                del pending[name]
        return True

    def _give_up(self, number: int) -> None:
        if number > 0:
            self._counts.labels("given_up").inc(number)


async def tell(client: EngineClient, names: list[str]) -> str:
    """What came of it, as it is counted."""
    try:
        status = await client.forget(names)
    except EngineError:
        return "failed"
    if status in (404, 405):  # stock vLLM
        return "none_kept"
    return "forgotten" if status == 200 else "failed"
