"""Request bodies off the wire, bounded in bytes and in time."""

import asyncio

from starlette.types import Receive, Scope

from server.errors import BodyTooLarge, CallerError


class ClientLeft(Exception):
    """The caller closed the connection: there is nobody left to answer."""


def header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value).decode("latin-1")
    return None


async def read_body(scope: Scope, receive: Receive, max_bytes: int, timeout_s: float) -> bytes:
    """The whole body. Raises BodyTooLarge, before reading where the length is told; CallerError; ClientLeft."""
    declared = header(scope, b"content-length")
    if declared is not None and declared.isdecimal() and int(declared) > max_bytes:
        raise BodyTooLarge(f"The body is larger than {max_bytes} bytes.")
    chunks: list[bytes] = []
    held = 0
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeft
                chunk = message.get("body", b"")
                held += len(chunk)
                if held > max_bytes:
                    raise BodyTooLarge(f"The body is larger than {max_bytes} bytes.")
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return b"".join(chunks)
    except TimeoutError as problem:
        raise CallerError(f"The body did not arrive within {timeout_s:g} s.") from problem
