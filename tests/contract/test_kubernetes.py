"""Engines of a Kubernetes service, through the official client and a small API server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from server.engines.discovery import kubernetes
from server.engines.discovery.kubernetes import KubernetesSource
from server.together import free_port
from tests.contract.test_faults import wait_until
from tests.contract.test_pools import QUICK, ask, outcome, series
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.kubernetes import FakeApiServer
from tests.fakes.serve import serving


@pytest.fixture
def api() -> FakeApiServer:
    return FakeApiServer()


@pytest.fixture
def kubeconfig(api: FakeApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(kubernetes, "FIRST_PAUSE_S", 0.02)
    with serving(api.app) as url:
        yield api.kubeconfig(url, tmp_path)


@pytest.fixture
async def source(kubeconfig: Path) -> AsyncIterator[KubernetesSource]:
    source = KubernetesSource("engines", "http", 3, "vision", kubeconfig)
    yield source
    await source.close()


async def hosts(source: KubernetesSource) -> list[str] | None:
    """Once something has changed."""
    await source.urls()
    await source.changed.wait()
    source.changed.clear()
    urls = await source.urls()
    return None if urls is None else [url.removeprefix("http://") for url in urls]


async def test_a_services_ready_endpoints_are_engines(api: FakeApiServer, source: KubernetesSource) -> None:
    api.change("a", "10.0.0.2", "10.0.0.1")
    api.change("b", "10.0.0.9", ready=False)
    api.change("c", "10.0.0.8", ready=True, terminating=True)
    assert await hosts(source) == ["10.0.0.1:8000", "10.0.0.2:8000"]
    assert api.asked[0]["labelSelector"] == "kubernetes.io/service-name=engines"


async def test_changes_are_followed_and_a_broken_watch_goes_on_where_it_was(
    api: FakeApiServer, source: KubernetesSource
) -> None:
    api.change("a", "10.0.0.1")
    assert await hosts(source) == ["10.0.0.1:8000"]
    api.change("b", "10.0.0.2")
    assert await hosts(source) == ["10.0.0.1:8000", "10.0.0.2:8000"]
    api.hang_up()
    api.change("a", kind="DELETED")
    assert await hosts(source) == ["10.0.0.2:8000"]
    watches = [asked for asked in api.asked if "watch" in asked]
    assert [asked["resourceVersion"] for asked in watches] == ["11", "12"]
    assert len(api.asked) == 3


async def test_what_is_too_old_to_go_on_from_is_looked_at_anew(
    api: FakeApiServer, source: KubernetesSource
) -> None:
    api.change("a", "10.0.0.1")
    assert await hosts(source) == ["10.0.0.1:8000"]
    api.slices.clear()
    api.version += 100
    api.oldest = api.version
    api.events.clear()
    api.hang_up()
    assert await hosts(source) == []


async def test_while_the_api_server_is_down_the_last_known_stay(
    api: FakeApiServer, source: KubernetesSource
) -> None:
    api.change("a", "10.0.0.1")
    assert await hosts(source) == ["10.0.0.1:8000"]
    api.down = True
    api.change("a", "10.0.0.2")
    assert await source.urls() == ["http://10.0.0.1:8000"]
    api.down = False
    assert await hosts(source) == ["10.0.0.2:8000"]


@pytest.mark.parametrize("nonsense", ["{}\n", '{"type": "ADDED", "object": {}}\n', "5\n", "nothing\n", "\xff\n"])
async def test_what_cannot_be_read_ends_a_watch_and_no_more(
    api: FakeApiServer, source: KubernetesSource, nonsense: str
) -> None:
    api.change("a", "10.0.0.1")
    api.nonsense = nonsense
    assert await hosts(source) == ["10.0.0.1:8000"]
    api.nonsense = ""
    api.change("a", "10.0.0.2")
    for _ in range(500):
        if await source.urls() == ["http://10.0.0.2:8000"]:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the watch did not go on")


async def test_nothing_is_known_before_the_first_answer(api: FakeApiServer, source: KubernetesSource) -> None:
    api.down = True
    assert await source.urls() is None


async def test_engines_are_bounded_in_number(api: FakeApiServer, source: KubernetesSource) -> None:
    api.change("a", *(f"10.0.0.{n}" for n in range(9, 0, -1)))
    assert await hosts(source) == ["10.0.0.1:8000", "10.0.0.2:8000", "10.0.0.3:8000"]


def test_a_gateway_serves_from_the_endpoints_that_there_are(api: FakeApiServer, kubeconfig: Path) -> None:
    port = free_port()
    one, two = FakeEngine(), FakeEngine()
    service = {"service": "engines", "namespace": "vision", "kubeconfig": str(kubeconfig)}
    pool = {"name": "found", "kubernetes": service}
    api.change("a", "127.0.0.2", port=port)
    with (
        serving(one.app, ("127.0.0.2", port)),
        serving(two.app, ("127.0.0.3", port)),
        gateway(engines={**QUICK, "pools": [pool]}) as url,
    ):
        assert outcome(ask(url)) == 200
        api.change("a", "127.0.0.2", "127.0.0.3", port=port)
        wait_until(lambda: len(series(url)) == 2)
        api.change("a", "127.0.0.3", port=port)
        wait_until(lambda: len(series(url)) == 1)
        seen = len(one.chats)
        assert {outcome(ask(url, n)) for n in range(5)} == {200}
        assert (len(one.chats), len(two.chats) >= 5) == (seen, True)
