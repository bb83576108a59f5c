"""Request bodies off the wire, bounded in bytes and in time."""

import asyncio
import ctypes

from starlette.types import Receive, Scope

from server.api.exchange import Exchange, Pieces, exchange_of
from server.api.leaving import ClientLeft
from server.domain import Raw
from server.errors import BodyTooLarge, CallerError, WrongMediaType
from server.loop_turns import LoopTurns
from server.memory import Holding
from server.record import current_record

# Of a body: what is still to come is read in place where it is more than that.
LEAST_IN_PLACE_BYTES = 128 * 1024
# Of CPython's stable interface: given no bytes to copy, it leaves the new ones as they are.
_new_bytearray = ctypes.pythonapi.PyByteArray_FromStringAndSize
_new_bytearray.restype, _new_bytearray.argtypes = ctypes.py_object, (ctypes.c_char_p, ctypes.c_ssize_t)


def header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value).decode("latin-1")
    return None


def require_json(scope: Scope) -> None:
    """Raises WrongMediaType. A page in somebody's browser may send anything else without being asked (CORS):
    to a gateway on that person's machine, say, which asks for no key."""
    media_type = header(scope, b"content-type") or ""
    if media_type != "application/json" and media_type.partition(";")[0].strip().lower() != "application/json":
        raise WrongMediaType("Send the body as content-type application/json.")
    if (header(scope, b"content-encoding") or "identity").strip().lower() != "identity":
        raise WrongMediaType("Send the body without content-encoding.")


async def read_body(
    scope: Scope, receive: Receive, max_bytes: int, timeout_s: float, holding: Holding, turns: LoopTurns
) -> Raw:
    """The whole body, for whose bytes `holding` has a permit before any is read (for the most that it may be,
    where its length is not told). Raises BodyTooLarge, before reading where it is; BusyError; CallerError;
    ClientLeft.
    """
    declared = header(scope, b"content-length")
    length = int(declared) if declared is not None and declared.isdecimal() else None
    permitted = max_bytes if length is None else length
    if permitted > max_bytes:
        raise too_large(max_bytes)
    await holding.take(permitted)
    exchange = exchange_of(scope)
    body: Raw | None = exchange.take_whole_body() if exchange is not None else None
    if body is None:
        try:
            async with asyncio.timeout(timeout_s):
                body = await read_as_it_comes(exchange, receive, length, max_bytes, turns)
        except TimeoutError as problem:
            raise CallerError(f"The body did not arrive within {timeout_s:g} s.") from problem
    if len(body) > max_bytes:
        raise too_large(max_bytes)
    if permitted != len(body):
        holding.give(permitted - len(body))
    current_record().body_bytes = len(body)
    return body


def too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {max_bytes} bytes.")


async def read_as_it_comes(
    exchange: Exchange | None, receive: Receive, length: int | None, max_bytes: int, turns: LoopTurns
) -> Raw:
    first, more = await next_pieces(exchange, receive)
    held = sum(map(len, first))
    if more and exchange is not None and length is not None and length - held > LEAST_IN_PLACE_BYTES:
        return await read_in_place(exchange, first, length, turns)
    return await read_pieces(exchange, receive, first, more, max_bytes, turns)


async def next_pieces(exchange: Exchange | None, receive: Receive) -> tuple[Pieces, bool]:
    """And whether there is more. Raises ClientLeft."""
    if exchange is not None:
        pieces = await exchange.receive_pieces()
        if pieces is None:
            raise ClientLeft
        return pieces, exchange.more_body
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientLeft
    return [message.get("body", b"")], message.get("more_body", False)


async def read_pieces(
    exchange: Exchange | None,
    receive: Receive,
    pieces: Pieces,
    more: bool,
    max_bytes: int,
    turns: LoopTurns,
) -> bytes:
    held = sum(map(len, pieces))
    while more:
        await turns.take()
        came, more = await next_pieces(exchange, receive)
        held += sum(map(len, came))
        if held > max_bytes:
            raise too_large(max_bytes)
        pieces += came
    return b"".join(pieces)


async def read_in_place(exchange: Exchange, first: Pieces, length: int, turns: LoopTurns) -> bytearray:
    """By the connection itself (`server.api.in_place`): nothing may come between what was received and this."""
    body, at = unfilled(length), 0
    place = memoryview(body)
    for piece in first:
        place[at : at + len(piece)] = piece
        at += len(piece)
    if not await exchange.read_in_place(place[at:], turns):
        raise ClientLeft
    return body


def unfilled(length: int) -> bytearray:
    """Of a large body, writing zeros first is a twentieth of all the work. Nobody sees what is in it before it is
    full: `read_in_place` returns it whole or not at all."""
    made: bytearray = _new_bytearray(None, length)
    return made
