"""Host memory that the scheduler's process fills and every worker reads: what is promised to vLLM lies here.

One file of pages, mapped by all (`arena_file.py` says where). The scheduler's process writes with pwrite, which
releases the GIL and fails with an error where a store into a mapping would be a SIGBUS; workers read their mapping.
"""

import logging
import mmap
import os
import secrets
import stat
import struct
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

from server.engine.encoder_cache import arena_file
from server.engine.encoder_cache.free_pages import FreePages, Run

logger = logging.getLogger(__name__)

PAGE_BYTES = 64 << 10
GROW_BYTES = 64 << 20
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - checked: owned, 0600, O_EXCL, a random name

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


class Arena:
    """No page belongs to two spans. Memory is allocated as it comes to be needed, and for good: no SIGBUS later.

    Thread-safe. The lock is never held while bytes are copied, but is while the file grows: the scheduler's own
    thread calls nothing here.
    """

    def __init__(self, fd: int, path: Path, pages: int) -> None:
        self._fd = fd
        self._path = path
        self._lock = threading.Lock()
        self._free = FreePages()
        self._used: dict[int, Span] = {}
        self._start = start_of(pages)
        self._pages = pages
        self._grown = 0
        self._last_ticket = secrets.randbits(62)
        os.posix_fallocate(fd, 0, self._start)
        os.pwrite(fd, HEAD.pack(MAGIC, PAGE_BYTES, pages), 0)
        self.view = ArenaView(fd)

    @classmethod
    def create(cls, capacity_bytes: int, engine_id: str, folders: Sequence[Path] = (SHARED_MEMORY,)) -> Self:
        """In the first of the folders with room for it, smaller where none has. Raises OSError."""
        for folder in folders:
            arena_file.sweep(folder)
        folder, room = arena_file.choose(folders, capacity_bytes)
        pages = max(1, room // PAGE_BYTES)
        fd, path = arena_file.create(folder, engine_id, start_of(pages) + pages * PAGE_BYTES)
        try:
            return cls(fd, path, pages)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise

    @property
    def handle(self) -> str:
        """For ArenaView.attach in a worker's process."""
        return str(self._path)

    @property
    def capacity_bytes(self) -> int:
        """Becomes less where the file could not grow."""
        return self._pages * PAGE_BYTES

    def put(self, data: memoryview | bytes) -> Span | None:
        """Copies it in; who calls has made room before (`pages_of`). None: there is none, or the system refused."""
        view = memoryview(data).cast("B")
        span = self._allocate(len(view))
        if span is None:
            return None
        try:
            self._write(span, view)
        except OSError as exc:
            logger.warning("Host memory for embeddings: %s", exc.strerror)
            self.free(span)
            return None
        os.pwrite(self._fd, TICKET.pack(span.ticket), ticket_at(span))
        return span

    def free(self, span: Span) -> None:
        """Its pages may be another's at once. Raises ValueError for what was freed before."""
        os.pwrite(self._fd, TICKET.pack(0), ticket_at(span))
        with self._lock:
            if self._used.pop(span.runs[0][0], None) != span:
                raise ValueError("freed twice")
            for first, count in span.runs:
                self._free.give(first, count)

    def wipe(self, span: Span) -> None:
        """Overwrites its bytes, before `free`: deleted is deleted."""
        self._write(span, memoryview(bytes(span.length)))

    def close(self) -> None:
        """The file is gone for those who have not attached; others keep their mapping."""
        self._path.unlink(missing_ok=True)
        self.view.close()
        os.close(self._fd)

    def _allocate(self, length: int) -> Span | None:
        pages = pages_of(length)
        with self._lock:
            if pages > self._pages:
                return None
            run = self._free.take_run(pages)
            while run is None and self._grow():
                run = self._free.take_run(pages)
            runs = [run] if run else self._free.take_scattered(pages)
            if not runs:
                return None
            self._last_ticket += 1
            span = Span(tuple(runs), length, self._last_ticket)
            self._used[runs[0][0]] = span
            return span

    def _grow(self) -> bool:
        """Whether there are more pages now."""
        more = min(GROW_BYTES // PAGE_BYTES, self._pages - self._grown)
        if not more:
            return False
        try:
            os.posix_fallocate(self._fd, self._start + self._grown * PAGE_BYTES, more * PAGE_BYTES)
        except OSError as exc:
            logger.warning(
                "Host memory for embeddings stays at %d MiB instead of %d: %s",
                self._grown * PAGE_BYTES >> 20, self.capacity_bytes >> 20, exc.strerror,
            )  # fmt: skip
            self._pages = self._grown
            return False
        self._free.give(self._grown, more)
        self._grown += more
        return True

    def _write(self, span: Span, data: memoryview) -> None:
        at = 0
        for first, count in span.runs:
            begin, end = self._start + first * PAGE_BYTES, min(at + count * PAGE_BYTES, span.length)
            while at < end:
                written = os.pwrite(self._fd, data[at:end], begin)
                at, begin = at + written, begin + written
