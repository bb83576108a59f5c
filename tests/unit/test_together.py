import random
import socket

import pytest

from server.errors import ConfigError
from server.together import OWN_PORTS, environment, free_port


@pytest.mark.parametrize(
    ("ours", "terminal", "form"),
    [
        ({}, True, "text"),
        ({}, False, None),
        ({"FOVEA_LOGS__FORMAT": "json"}, True, "json"),
        ({"FOVEA_CONFIG": "fovea.yaml"}, True, None),
    ],
)
def test_who_sits_at_a_terminal_reads_text_unless_it_is_set_otherwise(
    ours: dict[str, str], terminal: bool, form: str | None
) -> None:
    made = environment({"PATH": "/bin", **ours}, terminal)
    assert made.get("FOVEA_LOGS__FORMAT") == form
    assert (made["PATH"], made["PYTHONUNBUFFERED"]) == ("/bin", "1")


def test_a_free_port_is_one_that_nobody_listens_on(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    assert OWN_PORTS[0] <= port < OWN_PORTS[1] < 32_768  # where Linux's outgoing connections begin
    with socket.create_server(("127.0.0.1", port)):
        found = iter([port, port, free_port()])
        monkeypatch.setattr(random, "randrange", lambda *_: next(found))
        assert free_port() != port


def test_where_no_port_is_free_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(random, "randrange", lambda *_: taken.getsockname()[1])
        with pytest.raises(ConfigError, match="is free"):
            free_port()
