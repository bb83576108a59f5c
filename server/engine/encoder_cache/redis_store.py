"""The shared store, asked while it answers and left alone while it does not. Below redis_tier."""

from collections.abc import Callable
from typing import Any

from redis.exceptions import ResponseError

from server.engine.encoder_cache.circuit import Circuit
from server.engine.encoder_cache.complaints import Complaints
from server.engine.encoder_cache.redis_line import check_url, code_of
from server.engine.encoder_cache.redis_lines import RedisLines
from server.engine.encoder_cache.resp import Command, LineLost, TooLarge


class RedisStore:
    """Never raises once it is made. A store that refuses to write (full, a replica) can still be read."""

    def __init__(self, url: str, most_bytes: int, count: Callable[[str], None], complaints: Complaints) -> None:
        """Raises ValueError, which does not quote the URL: it may hold a password."""
        check_url(url)
        self._lines = RedisLines(url, most_bytes)
        self._count = count
        self._complaints = complaints
        self._reading, self._writing = Circuit(), Circuit()

    def refuses_writes(self) -> bool:
        return self._writing.is_off()

    def close(self) -> None:
        self._lines.close()

    def ask(self, *commands: Command, always: bool = False, reads: bool = True) -> list[Any] | None:
        """The replies, unless the store is lost or, where the first of these reads, refuses it; [TooLarge]."""
        begun = self._reading.begin()
        if begun is None and not always:
            self._count("off")
            return None
        try:
            replies = self._lines.ask(*commands)
            if reads and isinstance(replies[0], ResponseError) and code_of(replies[0]) != "wrongtype":
                raise LineLost(code_of(replies[0]))
        except TooLarge as problem:
            replies = [problem]
        except LineLost as problem:
            if begun is not None:
                self._reading.fail(begun)
            self._fail(problem.reason)
            return None
        if self._reading.succeed():
            self._complaints.tell("it answers again")
        return replies

    def write(self, command: Command, always: bool = False) -> Any:
        """The reply, or None where the store is lost or refuses to write."""
        begun = self._writing.begin()
        if begun is None and not always:
            self._count("off")
            return None
        replies = self.ask(command, always=always, reads=False)
        if replies is None:
            return None
        if isinstance(replies[0], ResponseError):
            if begun is not None:
                self._writing.fail(begun)
            self._fail(code_of(replies[0]))
            return None
        self._writing.succeed()
        return replies[0]

    def _fail(self, reason: str) -> None:
        self._count(reason)
        self._complaints.tell(reason)
