"""Asks one engine over its connections, in the names of ours for what goes wrong."""

from math import inf
from time import monotonic

from server.domain import Payload
from server.engines.http.address import EngineAddress
from server.engines.http.connection import Connection, Deadlines
from server.engines.http.connections import Connections
from server.engines.http.exchange import ask
from server.engines.http.failures import TransportFailure
from server.engines.refusal import translate
from server.errors import EngineError
from server.loop_turns import LoopTurns


class EngineHttp:
    """Whoever is given a connection by `ask` gives it back, answered or not."""

    def __init__(self, name: str, address: EngineAddress, connect_s: float, turns: LoopTurns) -> None:
        self.name = name
        self._turns = turns
        self._connections = Connections(address, connect_s)

    def close(self) -> None:
        self._connections.close()

    async def ask(self, lines: str, payload: Payload, deadlines: Deadlines, stream: bool) -> Connection:
        """The connection on which an answer begins. Raises EngineError, DeadlineExceeded."""
        head = f"{lines}content-length: {sum(map(len, payload))}\r\n\r\n".encode("latin-1")
        try:
            return await ask(self._connections, self._turns, head, payload, deadlines, stream)
        except TransportFailure as problem:
            raise translate(self.name, problem) from problem

    def give_back(self, connection: Connection) -> None:
        """Where its answer is not over, this ends the engine's work."""
        self._connections.give_back(connection)

    async def whole(self, connection: Connection, most: int) -> bytes | None:
        """The rest of a body; None where it has more than `most` bytes. Raises EngineError, DeadlineExceeded."""
        response = connection.response
        if not response.complete:
            try:
                await connection.answered(most)
            except TransportFailure as problem:
                raise translate(self.name, problem) from problem
        return connection.take() if response.held <= most else None

    async def exchange(self, lines: str, payload: Payload, within_s: float, most: int) -> tuple[int, bytes]:
        """Status and body of a small answer. Raises EngineError, also where it has more than `most` bytes."""
        deadlines = Deadlines(within_s, inf, monotonic() + within_s)
        connection = await self.ask(lines, payload, deadlines, stream=False)
        try:
            body = await self.whole(connection, most)
            if body is None:
                raise EngineError(f"{self.name} says more than is taken.")
            return connection.response.status, body
        finally:
            self.give_back(connection)
