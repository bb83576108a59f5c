import pytest

from server.api.own_host import OwnHost
from server.errors import WrongHost


def is_taken(host: str | None, *names: str, loopback_only: bool = False) -> bool:
    """Said twice: what was found once is remembered."""
    own = OwnHost(names, loopback_only)
    headers = [] if host is None else [(b"host", host.encode())]
    said = []
    for _ in range(2):
        try:
            own.check(headers)
            said.append(True)
        except WrongHost:
            said.append(False)
    assert said[0] == said[1]
    return said[0]


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
def test_without_a_key_this_machines_own_names_are_taken(host: str | None) -> None:
    assert is_taken(host, loopback_only=True)


@pytest.mark.parametrize("host", [*OTHERS, "localhost@rebound.example", "notlocalhost", "2130706433", "[127.0.0.1"])
def test_and_no_others(host: str) -> None:
    assert not is_taken(host, loopback_only=True)


@pytest.mark.parametrize("host", [*OWN, *OTHERS])
def test_elsewhere_any_is_taken(host: str) -> None:
    assert is_taken(host)


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
def test_names_that_are_set_are_the_only_ones(host: str, taken: bool) -> None:
    assert is_taken(host, "Api.Example") is taken
