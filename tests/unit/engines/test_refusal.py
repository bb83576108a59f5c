from collections.abc import Iterator

import pytest

from server.engines.http.failures import ConnectionEnded, NotConnected, NotHttp, OutOfTime, Phase, TransportFailure
from server.engines.refusal import EngineAnsweredBadly, EngineOverloaded, EngineRefused, refusal, translate
from server.errors import (
    BusyError,
    ContextTooLong,
    DeadlineExceeded,
    EngineConnectTimeout,
    EngineError,
    EngineGone,
    EngineIncoherent,
    EngineUnreachable,
    FirstTokenTimeout,
    GatewayError,
    IdleTimeout,
    TotalTimeout,
)

OURS: list[tuple[TransportFailure, type[GatewayError]]] = [
    (NotConnected("ConnectionRefusedError"), EngineUnreachable),
    (ConnectionEnded("the connection was closed", heard=False), EngineGone),
    (NotHttp("not HTTP"), EngineIncoherent),
    (OutOfTime(Phase.CONNECT), EngineConnectTimeout),
    (OutOfTime(Phase.FIRST_TOKEN), FirstTokenTimeout),
    (OutOfTime(Phase.IDLE), IdleTimeout),
    (OutOfTime(Phase.TOTAL), TotalTimeout),
    (OutOfTime(Phase.REQUEST), DeadlineExceeded),
]


def kinds(of: type[TransportFailure]) -> Iterator[type[TransportFailure]]:
    for kind in of.__subclasses__():
        yield kind
        yield from kinds(kind)


@pytest.mark.parametrize(("failure", "kind"), OURS)
def test_a_transport_failure_has_a_name_of_ours(failure: TransportFailure, kind: type[GatewayError]) -> None:
    problem = translate("engine-7", failure)
    assert type(problem) is kind
    assert "engine-7" in problem.message


def test_there_is_no_transport_failure_without_one() -> None:
    assert {type(failure) for failure, _ in OURS} == set(kinds(TransportFailure))
    assert {failure.phase for failure, _ in OURS if isinstance(failure, OutOfTime)} == set(Phase)


def test_times_that_are_over_are_told_apart() -> None:
    codes = [kind.code for failure, kind in OURS if isinstance(failure, OutOfTime)]
    assert len(set(codes)) == len(codes) == len(Phase)
    assert {kind.status for failure, kind in OURS if isinstance(failure, OutOfTime)} == {504}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, b"", BusyError),
        (503, b"", EngineOverloaded),
        (500, b"", EngineAnsweredBadly),
        (302, b"", EngineAnsweredBadly),
        (204, b"", EngineAnsweredBadly),
        (400, b"", EngineRefused),
        (400, b"[]", EngineRefused),
        (400, b'{"error":"no"}', EngineRefused),
        (400, b'{"error":{"message":null,"param":7}}', EngineRefused),
        (400, b'{"error":{"message":"the maximum context length is 9"}}', ContextTooLong),
    ],
)
def test_a_status_says_who_must_act(status: int, body: bytes, kind: type[GatewayError]) -> None:
    assert type(refusal("engine-0", status, body)) is kind


def test_a_callers_own_deadline_is_no_fault_of_the_engines() -> None:
    assert not issubclass(DeadlineExceeded, EngineError)
