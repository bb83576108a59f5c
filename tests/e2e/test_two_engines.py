"""Two real engines of one model behind one gateway, under load: one is killed, comes back, is then told to stop."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from demo.processes import Running, running
from server.together import free_port
from tests.conftest import ENGINE_START_S, Stack
from tests.e2e.load import PICTURES, Load, ask, wait_until
from tests.e2e.test_commands import children_of
from tests.fakes.gateway import metric

CALLERS = 8


@dataclass(frozen=True)
class Pair:
    """A gateway in front of the shared engine (engine-0) and one of our own (engine-1), once it is started."""

    url: str
    model: str
    checkpoint: Path
    port: int

    @contextmanager
    def second_engine(self) -> Iterator[Running]:
        options = ("--model", str(self.checkpoint), "--name", self.model, "--port", str(self.port))
        with running("server", "engine", *options) as engine:
            engine.wait_for(r"ready at ", ENGINE_START_S)
            self.wait_for_engines(2)
            yield engine

    def wait_for_engines(self, number: int) -> None:
        names = ('fovea_engine_ready{engine="engine-0"}', 'fovea_engine_ready{engine="engine-1"}')
        wait_until(lambda: sum(metric(self.url, name) for name in names) == number)

    def homes(self) -> list[str]:
        """Which engine each picture goes to, while nothing else runs."""
        with httpx2.Client(base_url=self.url, timeout=60) as http:
            outcomes = [ask(http, self.model, number, stream=False, tokens=1) for number in range(len(PICTURES))]
        assert {each.how for each in outcomes} == {"whole"}
        return [each.engine for each in outcomes]

    def load(self) -> Load:
        return Load([self.url], self.model)


@pytest.fixture(scope="module")
def pair(bf16: Stack) -> Iterator[Pair]:
    port, second = free_port(), free_port()
    options = ("--engine", bf16.engine, "--engine", f"http://127.0.0.1:{second}", "--port", str(port))
    settings = {"FOVEA_ENGINES__POLL_S": "0.5", "FOVEA_ENGINES__SLOW_START_S": "0"}
    with running("server", "gateway", *options, FOVEA_HTTP__DRAIN_GRACE_S="0", **settings) as gateway:
        made = Pair(f"http://127.0.0.1:{port}", bf16.model, bf16.checkpoint, second)
        gateway.wait_for("engine-0 is ready", 60)
        yield made


def test_whoever_loses_an_engine_is_answered_or_told_and_pictures_find_home_again(pair: Pair) -> None:
    with pair.second_engine() as engine:
        homes = pair.homes()
        assert homes == pair.homes()
        assert set(homes) == {"engine-0", "engine-1"}
        with pair.load().running(CALLERS) as load:
            load.wait_for_more(3 * CALLERS)
            for pid in children_of(engine.process.pid):
                os.kill(pid, signal.SIGKILL)
            load.wait_for_more(3 * CALLERS)
        counts = load.counts()
        assert (counts["cut"], counts["hung"]) == (0, 0)
        # No more than what the engine had begun to answer: all else is tried on the other one.
        assert counts["failed"] <= CALLERS
        assert {each.code for each in load.outcomes if each.how == "failed"} <= {"engine_failed"}
        pair.wait_for_engines(1)
        assert set(pair.homes()) == {"engine-0"}
        assert engine.finish(60) != 0
    with pair.second_engine() as engine:
        wait_until(lambda: pair.homes() == homes)
        with pair.load().running(CALLERS) as load:
            # Streams that were kept alive before their answer began do not tell whose it is.
            wait_until(lambda: {each.engine for each in load.outcomes} - {""} == {"engine-0", "engine-1"})
            engine.process.send_signal(signal.SIGTERM)
            pair.wait_for_engines(1)
            load.wait_for_more(2 * CALLERS)
            assert engine.finish(90) == 0
            load.wait_for_more(CALLERS)
        assert load.lost() == []
