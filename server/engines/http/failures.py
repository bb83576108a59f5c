"""What can go wrong between us and an engine's HTTP, before it is told as an error of ours (`client.translate`)."""

from enum import Enum


class Phase(Enum):
    """Which time was over: the engine's to take a connection, to begin to answer, to go on, to end; or the time
    that the caller gave its request."""

    CONNECT = 1
    FIRST_TOKEN = 2
    IDLE = 3
    TOTAL = 4
    REQUEST = 5


class TransportFailure(Exception):
    """`str()` of it is fit for a caller: it names no address and quotes nothing that came over the wire."""


class NotConnected(TransportFailure):
    """Refused, unreachable, of no known name, or not who its certificate should say."""


class ConnectionEnded(TransportFailure):
    """Closed or reset before the answer was whole; `heard` whether anything of it had come."""

    def __init__(self, text: str, heard: bool) -> None:
        super().__init__(text)
        self.heard = heard


class NotHttp(TransportFailure):
    """What came is not an answer as we take it; nothing that follows on that connection is believed."""


class OutOfTime(TransportFailure):
    def __init__(self, phase: Phase) -> None:
        super().__init__(phase.name)
        self.phase = phase
