"""What an engine's failures and refusals mean for the caller."""

from collections.abc import Mapping

import orjson

from server.domain import Json
from server.engines.http.failures import ConnectionEnded, NotConnected, NotHttp, OutOfTime, Phase, TransportFailure
from server.errors import (
    BusyError,
    CallerError,
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


class EngineRefused(CallerError):
    """The engine found fault with the request; its own words are the best there are."""

    code = "rejected_by_engine"


class EngineAnsweredBadly(EngineError):
    """A status of 500 or above, from an engine that is there to say so: the request may be what it cannot bear."""


class EngineOverloaded(BusyError):
    """A status of 503: the engine sheds load, and another one may have room."""


TIMEOUTS: Mapping[Phase, tuple[type[GatewayError], str]] = {
    Phase.CONNECT: (EngineConnectTimeout, "{} took no connection in time."),
    Phase.FIRST_TOKEN: (FirstTokenTimeout, "{} did not begin to answer in time."),
    Phase.IDLE: (IdleTimeout, "{} fell silent inside its answer."),
    Phase.TOTAL: (TotalTimeout, "{} did not end its answer in time."),
    Phase.REQUEST: (
        DeadlineExceeded,
        "The request's own time (x-request-timeout) was over before {} had answered.",
    ),
}


def translate(engine: str, failure: TransportFailure) -> GatewayError:
    """The only place where an engine's transport errors become ours."""
    match failure:
        case OutOfTime(phase=phase):
            kind, text = TIMEOUTS[phase]
            return kind(text.format(engine))
        case NotConnected():
            return EngineUnreachable(f"{engine} cannot be reached: {failure}.")
        case ConnectionEnded():
            return EngineGone(f"{engine} failed: {failure}.")
        case NotHttp():
            return EngineIncoherent(f"{engine} answered with what cannot be read: {failure}.")
    raise TypeError("a failure of no known kind")


def refusal(engine: str, status: int, body: bytes) -> GatewayError:
    """What a status other than 200 means for the caller."""
    if status in (429, 503):
        return (EngineOverloaded if status == 503 else BusyError)(f"{engine} is overloaded: try again later.")
    if not 400 <= status < 500:
        return EngineAnsweredBadly(f"{engine} failed with status {status}.")
    error = read_error(body)
    message = str(error.get("message") or "The engine refused the request.")
    param = error.get("param")
    kind = ContextTooLong if "context length" in message else EngineRefused
    return kind(message, param if isinstance(param, str) else None)


def read_error(body: bytes) -> Json:
    try:
        error = orjson.loads(body)["error"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return {}
    return error if isinstance(error, dict) else {}
