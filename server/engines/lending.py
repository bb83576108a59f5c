"""Lends an engine's answer for as long as a block runs, and ends the engine's work with it."""

from collections.abc import AsyncGenerator
from types import TracebackType
from typing import NoReturn

from server.domain import Answer, ReadyRequest
from server.engines.asking import EngineHttp
from server.engines.http.connection import Connection, Deadlines
from server.engines.http.failures import TransportFailure
from server.engines.image_cache import read_outcomes
from server.engines.refusal import refusal, translate
from server.errors import AnswerTooLarge

MOST_ERROR_BYTES = 64 * 1024


class Sending:
    """A request under way to an engine: entered, it lends the answer; left, nothing of it goes on anywhere."""

    __slots__ = ("_deadlines", "_lines", "_most", "_request", "connection", "http")

    def __init__(
        self, http: EngineHttp, lines: str, request: ReadyRequest, deadlines: Deadlines, most: int
    ) -> None:
        """`most` bytes of an answer that is not streamed."""
        self.http = http
        self._lines = lines
        self._request = request
        self._deadlines = deadlines
        self._most = most
        self.connection: Connection | None = None

    async def __aenter__(self) -> Answer:
        http, request = self.http, self._request
        self.connection = await http.ask(self._lines, request.payload, self._deadlines, request.stream)
        try:
            return await self._answer(http, self.connection, request.stream)
        except BaseException:
            self.end()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """The connection goes back, or is cut off where the answer is not over."""
        connection, self.connection = self.connection, None
        if connection is not None:
            self.http.give_back(connection)

    async def _answer(self, http: EngineHttp, connection: Connection, stream: bool) -> Answer:
        response = connection.response
        if response.status != 200:
            body = await http.whole(connection, MOST_ERROR_BYTES)
            raise refusal(http.name, response.status, body or b"")
        media_type = response.media_type or "application/json"
        told = read_outcomes(response.image_cache) if response.image_cache else ()
        if stream:
            return Answer(200, media_type, http.name, Frames(self), image_cache=told)
        # A whole answer is taken in before any of it is passed on, so that a failure keeps its status.
        whole = await http.whole(connection, self._most)
        if whole is None:
            raise AnswerTooLarge(
                f"The answer has more than {self._most} bytes: ask for fewer tokens or log "
                "probabilities, or stream it."
            )
        self.end()
        return Answer(200, media_type, http.name, once(whole), whole=whole, image_cache=told)


class Frames(AsyncGenerator[bytes, None]):
    """A stream's bytes as they come, several reads in one piece for whoever is slow to take them.

    Once its sending is over there are none: the connection may be another request's by then.
    """

    __slots__ = ("_sending",)

    def __init__(self, sending: Sending) -> None:
        self._sending = sending

    async def __anext__(self) -> bytes:
        connection = self._sending.connection
        if connection is None:
            raise StopAsyncIteration
        response = connection.response
        if not response.held and not response.complete:
            try:
                await connection.answered()
            except TransportFailure as problem:
                self._sending.end()
                raise translate(self._sending.http.name, problem) from problem
        if response.held:
            return connection.take()
        self._sending.end()
        raise StopAsyncIteration

    async def asend(self, value: None) -> bytes:
        return await self.__anext__()

    async def athrow(self, kind: object, problem: object = None, trace: object = None) -> NoReturn:
        self._sending.end()
        raise problem if isinstance(problem, BaseException) else kind  # type: ignore[misc]

    async def aclose(self) -> None:
        self._sending.end()


async def once(whole: bytes) -> AsyncGenerator[bytes, None]:
    if whole:
        yield whole
