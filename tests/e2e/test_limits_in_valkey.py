"""Limits in a real Valkey, shared by gateways that share nothing else. The engine is a fake."""

import asyncio
import logging
import random
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demo.processes import running
from server.admission.limits.accounts import Account
from server.admission.limits.memory import Limits
from server.admission.limits.redis_connection import RedisConnection, RedisConnections
from server.admission.limits.shared import SharedLimits
from server.admission.limits.store_line import DRAW, StoreLine
from server.allowance import RATES, Budgets, Subject
from server.domain import Cost, Tenant
from server.errors import RateLimitExceeded
from server.metrics import Metrics
from server.together import free_port
from tests.contract.test_faults import wait_until
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway, metric
from tests.fakes.serve import serving
from tests.pictures import chat
from tests.valkey import Valkey

CHAT = "/v1/chat/completions"


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def engine_url(engine: FakeEngine) -> Iterator[str]:
    with serving(engine.app) as url:
        yield url


# The same arithmetic in Lua and in Python.

steps = st.lists(
    st.tuples(
        st.integers(0, 40_000_000),
        st.booleans(),
        st.tuples(st.integers(0, 1), st.integers(0, 4), st.integers(0, 9000), st.integers(-9000, 20_000)),
    ),
    min_size=1,
    max_size=25,
)
amounts = st.none() | st.integers(1, 30_000)
budgets = st.builds(Budgets, amounts, amounts, amounts, amounts, st.none() | st.integers(1, 3))


async def run_in_store(
    connection: RedisConnection,
    budget: Budgets,
    name: str,
    now: int,
    costs: tuple[int, ...],
    lease: str,
    settles: bool,
) -> list[Any]:
    rates = [item for index, limit in budget.rates() for item in (RATES[index], limit, costs[index])]
    places = -1 if budget.places is None else budget.places
    head = [now, lease, "" if settles else 10**15, "1" if settles else ""]
    arguments = [*head, places, len(budget.rates()), *rates]
    (reply,) = await connection.exchange([DRAW.call([f"{name}:levels", f"{name}:leases"], arguments)])
    return list(reply)


def test_the_store_decides_as_memory_does_to_the_last_digit(valkey: Valkey) -> None:
    """Draws and settlements in any order, at any distance: the same decisions, and the same levels."""
    numbers = iter(range(10**9))
    refused = 0

    async def compare(budget: Budgets, sequence: list[Any]) -> None:
        nonlocal refused
        connection = RedisConnections(valkey.url)()
        await connection.open()
        await connection.exchange([("SCRIPT", "LOAD", DRAW.source)])
        name, account, now, held = f"t{next(numbers)}", Account(0), 10**15, []
        account.fits((0, 0, 0, 0), now)
        account.configure(budget, 1)
        for later, wanted, changes in sequence:
            now += later
            settles = wanted and bool(held)
            lease = held.pop() if settles else f"l{next(numbers)}"
            costs = changes if settles else tuple(abs(change) for change in changes)
            reply = await run_in_store(connection, budget, name, now, costs, lease, settles)
            if settles:
                account.settle(costs, now)
                account.running -= 1
            else:
                before, levels = account._at, list(account.levels)
                fits = account.fits(costs, now)
                assert bool(reply[0]) is fits
                if fits:
                    account.take(costs)
                    held.append(lease)
                refused += not fits
            assert [float(level) for level in reply[2:]] == [account.levels[index] for index, _ in budget.rates()]
            assert budget.places is None or settles or reply[1] == account.running
            if not reply[0]:
                # The store writes nothing where nothing is drawn: two steps are not rounded as one is.
                account._at, account.levels = before, levels
        await connection.close()

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(budgets, steps)
    def run(budget: Budgets, sequence: list[Any]) -> None:
        asyncio.run(compare(budget, sequence))

    run()
    assert refused > 50


async def drawn_at_once(limits: Limits, tenant: Tenant, cost: Cost) -> bool:
    try:
        with limits.draw(tenant, cost) as draw:
            if draw.undecided:
                await draw.decide()
            draw.begin()
            return True
    except RateLimitExceeded:
        return False


# Draws through the line that gateways have to the store.


@asynccontextmanager
async def shared_limits(url: str, timeout_s: float = 5, lease_s: float = 15) -> AsyncIterator[SharedLimits]:
    metrics = Metrics()
    limits = SharedLimits(metrics, StoreLine(RedisConnections(url), "t:", timeout_s, lease_s, metrics), "t:")
    await limits.start()
    try:
        yield limits
    finally:
        await limits.close()


async def asked(url: str, *command: str) -> Any:
    connection = RedisConnections(url)()
    await connection.open()
    (reply,) = await connection.exchange([command])
    await connection.close()
    return reply


@pytest.mark.parametrize("seed", range(4))
async def test_requests_that_are_cancelled_at_any_point_leave_nothing_behind(valkey: Valkey, seed: int) -> None:
    """Neither places nor tokens; only what was begun has drawn, and the requests that were let through."""
    chance = random.Random(seed)
    lab = Tenant("lab", allowance=(Subject("tenant", "{lab}", Budgets(requests=10**6, tokens=10**6, places=4)),))
    let_through = running = most = used = 0

    async def request(limits: SharedLimits) -> None:
        nonlocal let_through, running, most, used
        with limits.draw(lab, Cost(0, 0, 100)) as draw:
            if draw.undecided:
                await draw.decide()
            let_through += 1
            running += 1
            most = max(most, running)
            try:
                await asyncio.sleep(chance.choice((0, 0.001, 0.01)))
                if chance.random() < 0.3:
                    raise ConnectionError
                draw.begin()
                draw.settle(7)
                used += 7
            finally:
                running -= 1

    async with shared_limits(valkey.url) as one, shared_limits(valkey.url) as other:
        tasks = []
        for _ in range(300):
            tasks.append(asyncio.create_task(request(chance.choice((one, other)))))
            if chance.random() < 0.6:
                await asyncio.sleep(chance.choice((0, 0, 0.0005, 0.002)))
            if chance.random() < 0.5:
                chance.choice(tasks[-5:]).cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert most <= 4
        assert {type(each) for each in done if each is not None} <= {
            RateLimitExceeded,
            ConnectionError,
            asyncio.CancelledError,
        }
        assert let_through > 20
    assert await asked(valkey.url, "ZCARD", "t:{lab}:leases") == 0
    requests, tokens = await asked(valkey.url, "HMGET", "t:{lab}:levels", "requests", "tokens")
    # Ten seconds give a sixth of a million back: nothing of this is left but what time cannot have taken, yet.
    assert float(requests) <= let_through
    assert float(tokens) <= used
    assert await asked(valkey.url, "ZCARD", "t:gateways") == 0


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


async def test_what_runs_is_known_again_to_a_store_that_has_forgotten_it(valkey: Valkey) -> None:
    lab = Tenant("lab", allowance=(Subject("tenant", "{lab}", Budgets(places=2)),))
    cost = Cost(0, 0, 1)
    async with shared_limits(valkey.url, lease_s=0.6) as one, shared_limits(valkey.url, lease_s=0.6) as other:
        await until(lambda: one._line.gateways == 2)
        with one.draw(lab, cost) as running:
            await running.decide()
            valkey.kill()
            await until(lambda: not one._line.up and not other._line.up)
            # A share of two places is one, and one's is taken.
            assert [await drawn_at_once(limits, lab, cost) for limits in (one, other)] == [False, True]
            valkey.start()
            await until(lambda: one._line.up and other._line.up)
            with other.draw(lab, cost) as second:
                await second.decide()
                assert not await drawn_at_once(other, lab, cost)
        assert await drawn_at_once(other, lab, cost)


# Gateways over real ports.


def share(valkey: Valkey, **limits: Any) -> dict[str, Any]:
    return {"store_url": valkey.url, "store_timeout_s": 2, "lease_s": 1, **limits}


# One for all: each takes longer to make than many requests.
CALLER = httpx2.Client(timeout=30)


def ask(url: str) -> httpx2.Response:
    return CALLER.post(url + CHAT, json=chat())


def test_two_gateways_share_budgets_and_places_exactly(valkey: Valkey, engine: FakeEngine, engine_url: str) -> None:
    limits = share(valkey, tenant={"requests": 30, "places": 3})
    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        urls = [stack.enter_context(gateway(engine_url, limits=limits)) for _ in range(2)]
        engine.go.clear()
        running = [pool.submit(ask, urls[number % 2]) for number in range(8)]
        wait_until(lambda: sum(each.done() for each in running) == 5)
        engine.go.set()
        assert sorted(each.result().status_code for each in running) == [200] * 3 + [429] * 5
        assert len(engine.chats) == 3
        began = time.monotonic()
        answers = [ask(urls[number % 2]) for number in range(60)]
        taken = [each.status_code for each in answers].count(200)
        came_back = (time.monotonic() - began) * 30 / 60 + 2  # with what came back while three ran
        assert 27 <= taken <= 27 + came_back
        assert {each.status_code for each in answers} == {200, 429}
        left = [int(each.headers["x-ratelimit-remaining-requests"]) for each in answers[:20]]
        assert left == sorted(left, reverse=True)
        assert metric(urls[0], "fovea_limit_store_seconds_count") > 30


def test_a_store_that_is_killed_under_load_costs_no_request(
    valkey: Valkey, engine_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fovea.limits")
    limits = share(valkey, tenant={"requests": 10**6, "places": 100})
    with ThreadPoolExecutor(4) as pool, ExitStack() as stack:
        urls = [stack.enter_context(gateway(engine_url, limits=limits)) for _ in range(2)]
        stop = threading.Event()
        stack.callback(stop.set)

        def load(url: str) -> list[int]:
            statuses = []
            while not stop.is_set():
                statuses.append(ask(url).status_code)
            return statuses

        loads = [pool.submit(load, url) for url in urls]
        wait_until(lambda: all(metric(url, "fovea_limit_store_seconds_count") > 20 for url in urls))
        valkey.kill()
        wait_until(lambda: all(metric(url, "fovea_limit_store_up") == 0 for url in urls))
        answered = 'fovea_requests_total{code="",model="demo",route="chat",status="200",tenant="-"}'
        before = [metric(url, answered) for url in urls]
        wait_until(lambda: all(metric(url, answered) > count + 20 for url, count in zip(urls, before, strict=True)))
        valkey.start()
        wait_until(lambda: all(metric(url, "fovea_limit_store_up") == 1 for url in urls))
        stop.set()
        statuses = [status for each in loads for status in each.result()]
        assert set(statuses) == {200}
        assert all(metric(url, 'fovea_limit_store_errors_total{kind="connection"}') >= 1 for url in urls)
    said = [record.getMessage().partition("(")[0] for record in caplog.records]
    assert said.count("the store of limits is lost ") == 2
    assert len([each for each in said if each.startswith("the store of limits answers again")]) == 2


def test_a_store_that_hangs_is_waited_for_once_and_no_longer_than_is_set(valkey: Valkey, engine_url: str) -> None:
    limits = share(valkey, tenant={"requests": 1000}, store_timeout_s=0.2)
    with gateway(engine_url, limits=limits) as url:
        assert ask(url).status_code == 200
        assert valkey.process is not None
        valkey.process.send_signal(signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(8) as pool:
                assert {each.status_code for each in pool.map(ask, [url] * 40)} == {200}
            assert metric(url, "fovea_limit_store_up") == 0
            assert metric(url, 'fovea_limit_store_errors_total{kind="timeout"}') >= 1
        finally:
            valkey.process.send_signal(signal.SIGCONT)
        wait_until(lambda: metric(url, "fovea_limit_store_up") == 1)


def test_a_gateway_that_is_killed_gives_its_places_back(
    valkey: Valkey, engine: FakeEngine, engine_url: str
) -> None:
    limits = share(valkey, tenant={"places": 1})
    environ = {
        "FOVEA_LIMITS__STORE_URL": valkey.url,
        "FOVEA_LIMITS__TENANT__PLACES": "1",
        "FOVEA_LIMITS__LEASE_S": "1",
        "FOVEA_LIMITS__STORE_TIMEOUT_S": "2",
    }
    port = free_port()
    arguments = ("gateway", "--engine", engine_url, "--port", str(port))
    with gateway(engine_url, limits=limits) as url, running("server", *arguments, **environ) as process:
        wait_until(lambda: is_ready(f"http://127.0.0.1:{port}"), 60)
        engine.go.clear()
        with ThreadPoolExecutor(1) as pool:
            doomed = pool.submit(ask, f"http://127.0.0.1:{port}")
            wait_until(lambda: len(engine.chats) == 1)
            assert ask(url).status_code == 429
            process.stop(signal.SIGKILL)
            with pytest.raises(httpx2.TransportError):
                doomed.result()
        engine.go.set()
        wait_until(lambda: ask(url).status_code == 200)


def is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health/ready").status_code == 200
    except httpx2.TransportError:
        return False


def test_a_gateway_starts_without_its_store_and_never_tells_its_password(
    valkey_program: str, engine_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    limits = {"store_url": f"redis://user:SECRET@127.0.0.1:{free_port()}/0", "tenant": {"requests": 2}}
    with gateway(engine_url, limits=limits, admission={"gateways": 2}) as url:
        assert [ask(url).status_code for _ in range(2)] == [200, 429]
        assert metric(url, "fovea_limit_store_up") == 0
    assert "the store of limits is lost (connection" in caplog.text
    assert "SECRET" not in caplog.text
