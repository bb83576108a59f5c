"""One request over one connection, up to the first bytes of its answer."""

from server.domain import Payload
from server.engines.http.connection import Connection, Deadlines
from server.engines.http.connections import Connections
from server.engines.http.failures import ConnectionEnded, NotHttp
from server.engines.http.sending import send
from server.loop_turns import LoopTurns


async def ask(
    connections: Connections, turns: LoopTurns, head: bytes, payload: Payload, deadlines: Deadlines, stream: bool
) -> Connection:
    """The connection, once some of the body or the end of a response is there; it must be given back.

    Where a connection that was idle turns out to have been closed, the request goes out again over a new one, once:
    not a byte of an answer had come, and a generation that was begun is abandoned when its connection ends
    (docs/adr/0011). Raises TransportFailure.
    """
    idle = connections.take()
    if idle is not None:
        try:
            return await _carry(idle, turns, head, payload, deadlines, stream)
        except ConnectionEnded as problem:
            if problem.heard:
                raise
    fresh = await connections.dial(deadlines.end, deadlines.whose)
    return await _carry(fresh, turns, head, payload, deadlines, stream)


async def _carry(
    connection: Connection, turns: LoopTurns, head: bytes, payload: Payload, deadlines: Deadlines, stream: bool
) -> Connection:
    try:
        connection.begin(deadlines, stream)
        sent = await send(connection, head, payload, turns)
        if deadlines.when_sent is not None:
            deadlines.when_sent()
        await connection.answered()
        if not sent:
            connection.spoil()
            if connection.response.status == 200:
                raise NotHttp("an answer to half of a request")
    except BaseException:
        connection.abort()
        raise
    return connection
