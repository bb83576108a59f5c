"""A process's mapping of the arena, and the layout of its file: what workers need to read what is promised."""

import logging
import mmap
import os
import stat
import struct
from typing import NamedTuple, Self

from server.engine.encoder_cache.free_pages import Run

logger = logging.getLogger(__name__)

PAGE_BYTES = 64 << 10
MAGIC = b"FOVEA MEMORY 1\0\0"
HEAD = struct.Struct("<16sQQ")  # magic, bytes of a page, pages; then a ticket for each page, then the pages
TICKET = struct.Struct("<Q")


class StaleSpan(Exception):
    """The span was freed, and perhaps given to another entry: what was read is not what was asked for."""


class Span(NamedTuple):
    """Where an entry's bytes lie: nearly always one run of pages. Good until it is freed, as its ticket tells."""

    runs: tuple[Run, ...]
    length: int
    ticket: int


def pages_of(length: int) -> int:
    """An entry of no bytes takes one, too: it must be somewhere."""
    return max(1, -(-length // PAGE_BYTES))


def start_of(pages: int) -> int:
    """Where the pages of a file of so many begin."""
    return -(-(HEAD.size + TICKET.size * pages) // PAGE_BYTES) * PAGE_BYTES


def ticket_at(span: Span) -> int:
    return HEAD.size + TICKET.size * span.runs[0][0]


class ArenaView:
    """The mapping of one process. Reads only spans that are good."""

    def __init__(self, fd: int, writable: bool = False) -> None:
        """Raises OSError or ValueError for a file that is no arena of ours. The descriptor may be closed after."""
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o077:
            raise ValueError("not a file of this user's alone")
        if state.st_size < PAGE_BYTES:
            raise ValueError("too short to be an arena")
        access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        self._mapped = mmap.mmap(fd, state.st_size, mmap.MAP_SHARED, access)
        self.buffer = memoryview(self._mapped)
        magic, page_bytes, pages = HEAD.unpack_from(self.buffer)
        self._start = start_of(pages)
        if (magic, page_bytes, self._start + pages * PAGE_BYTES) != (MAGIC, PAGE_BYTES, state.st_size):
            raise ValueError("no arena of this version")

    @classmethod
    def attach(cls, handle: str, writable: bool = False) -> Self:
        """Of another process's arena; `writable` as cudaHostRegister asks. Raises OSError, ValueError."""
        fd = os.open(handle, os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_RDWR if writable else os.O_RDONLY))
        try:
            return cls(fd, writable)
        finally:
            os.close(fd)

    def pieces(self, span: Span) -> list[memoryview]:
        """The bytes where they lie, in order, one piece a run: for a copy to the device. Call `check` after it."""
        self.check(span)
        pieces, left = [], span.length
        for first, count in span.runs:
            begin = self._start + first * PAGE_BYTES
            here = min(left, count * PAGE_BYTES)
            pieces.append(self.buffer[begin : begin + here])
            left -= here
        return pieces

    def read(self, span: Span, into: memoryview) -> None:
        """Copies the whole into a buffer of bytes of just its length. Raises StaleSpan; then it holds anything."""
        at = 0
        for piece in self.pieces(span):
            into[at : at + len(piece)] = piece
            at += len(piece)
        self.check(span)

    def check(self, span: Span) -> None:
        """Raises StaleSpan unless it has not been freed. Promised spans never are: this is the proof."""
        (ticket,) = TICKET.unpack_from(self.buffer, ticket_at(span))
        if ticket != span.ticket:
            raise StaleSpan

    def close(self) -> None:
        """Unmaps, unless someone still has a piece: then the process's end does."""
        try:
            self.buffer.release()
            self._mapped.close()
        except BufferError:
            logger.debug("pieces of the mapping are still in use")
