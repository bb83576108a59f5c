"""What engines tell of their memory and their queue: the fake one in real vLLM's words."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from server.engines.client import EngineClient, EngineTimeouts
from server.engines.discovery.source import WrittenSource
from server.engines.group import Group
from server.engines.pool import EnginePool
from server.errors import EngineError
from server.loop_turns import LoopTurns
from server.metrics import Metrics
from tests.conftest import Stack
from tests.fakes.engine import FakeEngine
from tests.fakes.serve import serving


def client_of(url: str) -> EngineClient:
    return EngineClient("engine-0", url, EngineTimeouts(5, 30, 30), LoopTurns(4))


@pytest.fixture(params=["fake", "vllm"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[EngineClient]:
    if request.param == "vllm":
        stack: Stack = request.getfixturevalue("fp8")
        client = client_of(stack.engine)
        yield client
        await client.close()
        return
    with serving(FakeEngine().app) as url:
        client = client_of(url)
        yield client
        await client.close()


async def test_an_engine_tells_how_much_memory_it_has_and_how_much_of_it_is_held(client: EngineClient) -> None:
    report = await client.report()
    assert report.blocks is not None
    assert report.block_size is not None
    assert report.kv_usage is not None
    assert 0 <= report.kv_usage < 1
    # The demo's model has linear attention: its state takes blocks of the same pool.
    assert report.state_blocks > 0
    assert report.kv_tokens is not None
    assert 4096 < report.kv_tokens < report.blocks * report.block_size
    context = report.blocks_for(4096)
    assert context == 4096 / report.block_size + report.state_blocks
    assert report.kv_tokens == pytest.approx(4096 * report.blocks / context, rel=0.001)
    assert report.kv_bytes_per_token == 2**30 / report.kv_tokens  # VLLM_CPU_KVCACHE_SPACE


@asynccontextmanager
async def polled(url: str) -> AsyncIterator[EnginePool]:
    """A pool whose engine is ready."""
    groups = [Group("engine", WrittenSource((url,)))]
    pool = EnginePool(groups, lambda _, url: client_of(url), 0.01, Metrics())
    await pool.start()
    try:
        async with asyncio.timeout(20):
            while not pool.ready:
                await asyncio.sleep(0.01)
        yield pool
    finally:
        await pool.close()


async def test_the_pool_knows_what_its_ready_engines_told_last() -> None:
    engine = FakeEngine()
    with serving(engine.app) as url:
        async with polled(url) as pool:
            assert [report.running for report in pool.reports("demo")] == [2]
            assert pool.reports("another") == []
            engine.tells = engine.tells.replace("2.0", "7.0")
            async with asyncio.timeout(20):
                while pool.reports()[0].running != 7:
                    await asyncio.sleep(0.01)


@pytest.mark.parametrize("tells", ["", "vllm:num_requests_running{} NaN", "#" * 5_000_000])
async def test_an_engine_that_tells_nothing_is_as_good_as_any(tells: str) -> None:
    engine = FakeEngine()
    engine.tells = tells
    with serving(engine.app) as url:
        client = client_of(url)
        with pytest.raises(EngineError):
            await client.report()
        await client.close()
        async with polled(url) as pool:
            assert pool.ready
            assert pool.reports() == []
