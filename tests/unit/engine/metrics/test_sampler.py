import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from server.engine.metrics.declared import Readings
from server.engine.metrics.sampler import FRESH_S, HANGS_S, Sampler

NAME = "fovea_host_memory_total_bytes"
LONG_S = 60


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Source:
    """Counts its readings; waits for `go` in each."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.readings = 0

    def __call__(self) -> Readings:
        assert self.go.wait(LONG_S)
        self.readings += 1
        return {NAME: {(): self.readings}}


@pytest.fixture
def source() -> Iterator[Source]:
    made = Source()
    yield made
    made.go.set()


def started(source: Source, clock: Clock) -> Sampler:
    sampler = Sampler(source, "test-sampler", clock)
    sampler.start()
    return sampler


def until(sampler: Sampler, wanted: int) -> None:
    """By the real clock: this machine may be slow."""
    deadline = time.monotonic() + LONG_S
    while time.monotonic() < deadline:
        if sampler.readings() == {NAME: {(): wanted}}:
            return
        time.sleep(0.005)
    pytest.fail(f"never read {wanted}")


def test_readings_are_kept_for_a_second(source: Source) -> None:
    clock = Clock()
    sampler = started(source, clock)
    until(sampler, 1)
    clock.now += FRESH_S / 2
    assert sampler.readings() == {NAME: {(): 1}}
    clock.now += FRESH_S
    until(sampler, 2)
    assert source.readings == 2


def test_one_that_hangs_has_its_last_readings_and_holds_nobody_up(source: Source) -> None:
    clock = Clock()
    sampler = started(source, clock)
    until(sampler, 1)
    source.go.clear()
    clock.now += FRESH_S
    assert sampler.readings() == {NAME: {(): 1}}
    assert not sampler.hangs
    clock.now += HANGS_S
    assert sampler.hangs
    assert sampler.readings() == {NAME: {(): 1}}
    source.go.set()
    until(sampler, 2)
    assert not sampler.hangs


def test_an_event_loop_never_waits(source: Source) -> None:
    source.go.clear()
    sampler = Sampler(source, "test-sampler", Clock(), wait_s=3600)
    sampler.start()

    async def ask() -> Readings:
        return sampler.readings()

    assert asyncio.run(ask()) == {}
    source.go.set()
    until(sampler, 1)


def test_a_reading_that_fails_is_told_of_once_and_the_next_may_succeed(caplog: pytest.LogCaptureFixture) -> None:
    clock, answers = Clock(), iter([ValueError("broken"), ValueError("broken"), 3])

    def read() -> Readings:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return {NAME: {(): answer}}

    sampler = Sampler(read, "test-sampler", clock)
    sampler.start()
    deadline = time.monotonic() + LONG_S
    while not sampler.readings() and time.monotonic() < deadline:
        clock.now += FRESH_S
        time.sleep(0.005)
    assert sampler.readings() == {NAME: {(): 3}}
    assert [record.message.partition(": ")[2] for record in caplog.records] == ["ValueError: broken"]
