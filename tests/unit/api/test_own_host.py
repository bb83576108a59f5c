import pytest
from starlette.types import Receive, Scope, Send

from server.api.own_host import OwnHost
from server.errors import WrongHost


async def is_taken(host: str | None, *names: str, loopback_only: bool = False) -> bool:
    reached = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope)

    async def nothing(*_: object) -> None: ...

    headers = [] if host is None else [(b"host", host.encode())]
    try:
        await OwnHost(app, names, loopback_only)({"type": "http", "headers": headers}, nothing, nothing)  # type: ignore[arg-type]
    except WrongHost:
        assert reached == []
        return False
    return reached != []


OWN = [
    "127.0.0.1",
    "127.0.0.1:8080",
    "127.9.9.9",
    "localhost",
    "LocalHost:8080",
    "localhost.",
    "a.localhost",
    "[::1]",
]
OTHERS = [
    "rebound.example",
    "rebound.example:8080",
    "127.0.0.1.example",
    "localhost.example",
    "10.0.0.1",
    "",
    "[::2]",
]


@pytest.mark.parametrize("host", [*OWN, "[::1]:8080", None])
async def test_without_a_key_this_machines_own_names_are_taken(host: str | None) -> None:
    assert await is_taken(host, loopback_only=True)


@pytest.mark.parametrize("host", [*OTHERS, "localhost@rebound.example", "notlocalhost", "2130706433", "[127.0.0.1"])
async def test_and_no_others(host: str) -> None:
    assert not await is_taken(host, loopback_only=True)


@pytest.mark.parametrize("host", [*OWN, *OTHERS])
async def test_elsewhere_any_is_taken(host: str) -> None:
    assert await is_taken(host)


@pytest.mark.parametrize(
    ("host", "taken"),
    [
        ("api.example", True),
        ("API.example:443", True),
        ("api.example.", True),
        ("localhost", True),
        ("other.example", False),
        ("x.api.example", False),
        ("api.example.evil.example", False),
    ],
)
async def test_names_that_are_set_are_the_only_ones(host: str, taken: bool) -> None:
    assert await is_taken(host, "Api.Example") is taken
