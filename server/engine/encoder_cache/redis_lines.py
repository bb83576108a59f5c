"""The few connections that a process has to the shared store, and the scripts that run in it. Below redis_tier."""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from redis.exceptions import ResponseError

from server.engine.encoder_cache.redis_line import RedisLine, code_of
from server.engine.encoder_cache.resp import Command, LineLost, Piece

# Two threads that look up, one that writes, one that forgets: who comes when all are out opens one more.
MOST_IDLE = 4


class Script:
    """Runs in the store, all of it or nothing, known there by its hash."""

    def __init__(self, name: str) -> None:
        self.source = Path(__file__).with_name(name).read_bytes()
        self._sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode()

    def call(self, keys: Sequence[bytes], *arguments: Piece | tuple[Piece, ...]) -> Command:
        return (b"EVALSHA", self._sha, b"%d" % len(keys), *keys, *arguments)


KEEP, MOVE, FORGET = Script("keep.lua"), Script("move.lua"), Script("forget.lua")


class RedisLines:
    """A line on which anything failed is closed, never lent again."""

    def __init__(self, url: str, most_bytes: int) -> None:
        self._url = url
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._idle: list[RedisLine] = []
        self._closed = False

    def ask(self, *commands: Command) -> list[Any]:
        """The replies in order; a refusal is among them as a ResponseError. Raises LineLost.

        All may be carried out twice.
        """
        return self._use(self._take() or self._open(), commands)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for line in idle:
            close_quietly(line)

    def _take(self) -> RedisLine | None:
        """The store closes what was idle for long, and is started anew."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                line = self._idle.pop()
            if line.is_quiet():
                return line
            close_quietly(line)

    def _open(self) -> RedisLine:
        line = RedisLine(self._url, self._most_bytes)
        with closing_what_failed(line):
            line.open()
            load_scripts(line)
        return line

    def _use(self, line: RedisLine, commands: Sequence[Command]) -> list[Any]:
        with closing_what_failed(line):
            replies = line.exchange(commands)
            if any(isinstance(reply, ResponseError) and code_of(reply) == "noscript" for reply in replies):
                load_scripts(line)
                replies = line.exchange(commands)
        with self._lock:
            if not self._closed and len(self._idle) < MOST_IDLE:
                self._idle.append(line)
                return replies
        close_quietly(line)
        return replies


def load_scripts(line: RedisLine) -> None:
    """Who may not load scripts may read. Raises LineLost."""
    for reply in line.exchange([(b"SCRIPT", b"LOAD", script.source) for script in (KEEP, MOVE, FORGET)]):
        if isinstance(reply, ResponseError) and code_of(reply) != "noperm":
            raise LineLost(code_of(reply))


@contextmanager
def closing_what_failed(line: RedisLine) -> Iterator[None]:
    try:
        yield
    except BaseException:
        close_quietly(line)
        raise


def close_quietly(line: RedisLine) -> None:
    with suppress(LineLost):  # it is lost already
        line.close()
