"""Request bodies off the wire, bounded in bytes and in time."""

import asyncio

from starlette.types import Receive, Scope

from server.errors import BodyTooLarge, CallerError, WrongMediaType
from server.loop_turns import LoopTurns
from server.memory import Holding
from server.record import current_record


class ClientLeft(Exception):
    """The caller closed the connection: there is nobody left to answer."""


def header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value).decode("latin-1")
    return None


def require_json(scope: Scope) -> None:
    """Raises WrongMediaType. A page in somebody's browser may send anything else without being asked (CORS):
    to a gateway on that person's machine, say, which asks for no key."""
    media_type = (header(scope, b"content-type") or "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise WrongMediaType("Send the body as content-type application/json.")
    if (header(scope, b"content-encoding") or "identity").strip().lower() != "identity":
        raise WrongMediaType("Send the body without content-encoding.")


async def read_body(
    scope: Scope, receive: Receive, max_bytes: int, timeout_s: float, holding: Holding, turns: LoopTurns
) -> bytes:
    """The whole body, for whose bytes `holding` has a permit before any is read (for the most that it may be,
    where its length is not told). Raises BodyTooLarge, before reading where it is; BusyError; CallerError;
    ClientLeft.
    """
    declared = header(scope, b"content-length")
    permitted = int(declared) if declared is not None and declared.isdecimal() else max_bytes
    if permitted > max_bytes:
        raise BodyTooLarge(f"The body is larger than {max_bytes} bytes.")
    await holding.take(permitted)
    chunks: list[bytes] = []
    held = 0
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                if held:
                    await turns.take()
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeft
                chunk = message.get("body", b"")
                held += len(chunk)
                if held > max_bytes:
                    raise BodyTooLarge(f"The body is larger than {max_bytes} bytes.")
                chunks.append(chunk)
                if not message.get("more_body", False):
                    holding.give(permitted - held)
                    current_record().body_bytes = held
                    return b"".join(chunks)
    except TimeoutError as problem:
        raise CallerError(f"The body did not arrive within {timeout_s:g} s.") from problem
