"""A worker's line to its supervisor: it says when it serves, tells its metrics, and asks for everybody's.

Lines of JSON: {"serving": true}, {"tell": null} answered by {"told": text}, and {"ask": number} answered by
{"asked": number, "sum": text}.
"""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
from collections.abc import Callable
from typing import Any

from server.errors import BusyError

# Of a line: metrics are some hundred kilobytes at most.
MOST_BYTES = 16 * 1024**2
ANSWER_S = 5.0
MOST_ASKED = 16


class ControlLine:
    """One end of a socket pair; `lines` ends when the other end is gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> "ControlLine":
        return cls(*await asyncio.open_connection(sock=end, limit=MOST_BYTES))

    def say(self, **message: Any) -> None:
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def hear(self) -> dict[str, Any] | None:
        """The next message; None at the end."""
        try:
            line = await self._reader.readline()
        except (ConnectionError, ValueError):
            return None
        return json.loads(line) if line.endswith(b"\n") else None

    async def close(self) -> None:
        """Once all that was said has been sent."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


class WorkerControl:
    """A worker's end. Whoever started it is gone when the line ends: then it stops as if told to."""

    def __init__(self, end: socket.socket, tell: Callable[[], str]) -> None:
        """`tell` says what this worker has counted, in Prometheus' text format."""
        self._end = end
        self._tell = tell
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[str]] = {}
        self._line: ControlLine | None = None
        self._listening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._line = await ControlLine.open(self._end)
        self._listening = asyncio.create_task(self._listen(self._line), name="supervisor's line")

    def serving(self) -> None:
        assert self._line is not None
        self._line.say(serving=True)

    async def close(self) -> None:
        """The last words are what has been counted."""
        if self._listening is not None and self._line is not None:
            self._listening.cancel()
            await asyncio.wait({self._listening})
            self._line.say(told=self._tell())
            await self._line.close()

    async def scrape(self) -> bytes:
        """Everybody's metrics. A part of them would look like counters that were set back: rather none."""
        if self._line is None or len(self._asked) >= MOST_ASKED:
            raise BusyError("Too many ask for metrics at once.")
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._line.say(ask=number)
            whole: str = await asyncio.wait_for(answer, ANSWER_S)
        except TimeoutError as problem:
            raise BusyError("The other workers' metrics did not come in time.") from problem
        finally:
            del self._asked[number]
        return whole.encode()

    async def _listen(self, line: ControlLine) -> None:
        while (message := await line.hear()) is not None:
            if "tell" in message:
                line.say(told=self._tell())
            elif (answer := self._asked.get(message["asked"])) is not None and not answer.done():
                answer.set_result(message["sum"])
        os.kill(os.getpid(), signal.SIGTERM)
