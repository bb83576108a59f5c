"""Large bodies go from the kernel straight to where they stay: no copies, and nothing of ours runs for each piece.

Piece by piece, a photograph's body costs a callback, a message and a turn of its task forty times, and is copied
out of the parser and into one again.
"""

import asyncio
from typing import Protocol

from server.loop_turns import TURN_BYTES, LoopTurns


class Connection(Protocol):
    """Whose bytes these are: it is the transport's protocol before and after."""

    def connection_lost(self, exc: Exception | None) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def body_is_in_place(self, whole: bool) -> None:
        """It is the transport's protocol again, which is not read; `whole` unless the body was given up."""


class BodyInPlace(asyncio.BufferedProtocol):
    """Stands in for a connection while the rest of one body is read: never a byte of what comes behind it."""

    def __init__(
        self,
        connection: Connection,
        transport: asyncio.Transport,
        place: memoryview,
        turns: LoopTurns,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._connection = connection
        self._transport = transport
        self._place = place
        self._turns = turns
        self._at = 0
        self._since_turn = 0
        self._ended: asyncio.Future[bool] = loop.create_future()

    async def read(self) -> bool:
        """Fill the place. False where the caller has left. The transport must not be reading."""
        self._transport.set_protocol(self)
        self._transport.resume_reading()
        try:
            return await self._ended
        finally:
            if not self._ended.done() or self._ended.cancelled():
                self._give_back(whole=False)
            self._place.release()

    def get_buffer(self, sizehint: int) -> memoryview:
        # The kernel may hold megabytes by now, and would copy all of them in one go.
        return self._place[self._at : self._at + TURN_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        self._at += nbytes
        self._since_turn += nbytes
        if self._at == len(self._place):
            self._give_back(whole=True)
            self._ended.set_result(True)
        elif self._since_turn >= TURN_BYTES:
            self._since_turn = 0
            if not self._turns.take_now():
                self._transport.pause_reading()
                self._turns.when_free(self._go_on)

    def eof_received(self) -> None:
        """The transport closes."""

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_result(False)
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()

    def _go_on(self) -> None:
        if not self._ended.done() and not self._transport.is_closing():
            self._transport.resume_reading()

    def _give_back(self, whole: bool) -> None:
        if self._transport.is_closing():
            return
        self._transport.pause_reading()
        self._transport.set_protocol(self._connection)  # type: ignore[arg-type]
        self._connection.body_is_in_place(whole)
