"""Sends one request: its head, and a body in pieces that nobody joins or copies but the kernel.

Moving much at once would keep everybody else's tokens waiting: large pieces take turns on the loop.
"""

from server.domain import Payload
from server.engines.http.connection import Connection
from server.loop_turns import LoopTurns

# Handed to the kernel in one turn of the loop's, at most.
SEND_BYTES = 512 * 1024
# What is joined rather than handed over piece by piece.
SMALL_BYTES = 32 * 1024


async def send(connection: Connection, head: bytes, payload: Payload, turns: LoopTurns) -> bool:
    """Whether all of it went out: an engine may answer before. Raises TransportFailure."""
    pending: list[bytes | memoryview] = [head]
    for chunk in payload:
        if len(chunk) <= SMALL_BYTES:
            pending.append(chunk)
            continue
        view = memoryview(chunk)
        for start in range(0, len(view), SEND_BYTES):
            if not turns.take_now():
                await turns.take()
            connection.write_all((*pending, view[start : start + SEND_BYTES]))
            pending.clear()
            if not await connection.writable():
                return False
    if pending:
        connection.write(b"".join(pending))
    return True
