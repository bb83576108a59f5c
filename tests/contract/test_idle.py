"""Connections that nothing comes on any more are closed after the time that is set, and not before."""

from http.client import HTTPConnection
from urllib.parse import urlsplit

from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving


def connected(url: str) -> HTTPConnection:
    """It has been asked, and has answered, once."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=120)
    ask(connection)
    return connection


def ask(connection: HTTPConnection) -> None:
    connection.request("GET", "/health/live", headers={"host": "localhost"})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200


def test_an_idle_connection_is_kept_for_as_long_as_is_said() -> None:
    """By one gateway for a moment, by the other for an hour: when the one has closed, the other answers."""
    with (
        serving(FakeEngine().app) as engine,
        gateway(engine, http={"idle_timeout_s": 3600}) as patient,
        gateway(engine, http={"idle_timeout_s": 0.1}) as brief,
    ):
        kept, closed = connected(patient), connected(brief)
        assert closed.sock.recv(1) == b""
        before = kept.sock
        ask(kept)
        assert kept.sock is before, "it was closed, and another one was opened"
        kept.close()
        closed.close()
