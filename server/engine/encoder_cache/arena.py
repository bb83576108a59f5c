"""Host memory that the scheduler's process fills and every worker reads: what is promised to vLLM lies here.

One file of pages, mapped by all (`arena_file.py` says where). The scheduler's process writes with pwrite, which
releases the GIL and fails with an error where a store into a mapping would be a SIGBUS; workers read their mapping.
"""

import contextlib
import logging
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from server.engine.encoder_cache import arena_file
from server.engine.encoder_cache.arena_view import (
    HEAD,
    MAGIC,
    PAGE_BYTES,
    TICKET,
    ArenaView,
    Span,
    pages_of,
    start_of,
    ticket_at,
)
from server.engine.encoder_cache.free_pages import FreePages

logger = logging.getLogger(__name__)

# Tens of milliseconds for each 64 MiB: in pieces, and ahead of who needs them.
GROW_BYTES = 8 << 20
AHEAD_BYTES = 64 << 20
GROW_AGAIN_S = 60.0
PLACES = (Path("/dev/shm"), Path(tempfile.gettempdir()))  # noqa: S108 - 0600, O_EXCL, a random name


class Arena:
    """No page belongs to two spans. Memory is allocated as it comes to be needed, and for good: no SIGBUS later.

    Thread-safe. The lock is never held while bytes are copied or the file grows.
    """

    def __init__(self, fd: int, path: Path, pages: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._fd = fd
        self._path = path
        self._growing = threading.Lock()  # taken before the other
        self._lock = threading.Lock()
        self._free = FreePages()
        self._used: dict[int, Span] = {}
        self._start = start_of(pages)
        self._pages = pages
        self._grown = 0
        self._clock = clock
        self._full_until_s = 0.0
        self._why_full: str | None = None
        self._last_ticket = secrets.randbits(62)
        os.posix_fallocate(fd, 0, self._start)
        os.pwrite(fd, HEAD.pack(MAGIC, PAGE_BYTES, pages), 0)
        self.view = ArenaView(fd)

    @classmethod
    def create(cls, capacity_bytes: int, engine_id: str, folders: Sequence[Path] = PLACES) -> Self:
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
        """Less, for a while, after the file could not grow."""
        return (self._grown if self._clock() < self._full_until_s else self._pages) * PAGE_BYTES

    def put(self, data: memoryview | bytes) -> Span | None:
        """Copies it in; who calls has made room before (`pages_of`). None: there is none, or the system refused."""
        view = memoryview(data).cast("B")
        span = self._allocate(len(view))
        if span is None:
            return None
        try:
            self._write(span, view)
            os.pwrite(self._fd, TICKET.pack(span.ticket), ticket_at(span))
        except OSError as exc:
            logger.warning("Host memory for embeddings: %s", exc.strerror)
            self.free(span)
            return None
        return span

    def prepare(self) -> None:
        """Allocates ahead of need, where that never failed; others may put meanwhile."""
        while not self._full_until_s and self._free.pages < AHEAD_BYTES // PAGE_BYTES and self._grow(1):
            pass

    def free(self, span: Span) -> None:
        """Its pages may be another's at once. Raises ValueError for what was freed before."""
        with contextlib.suppress(OSError):  # Then nobody can tell that it was freed; nobody should need to.
            os.pwrite(self._fd, TICKET.pack(0), ticket_at(span))
        with self._lock:
            if self._used.pop(span.runs[0][0], None) != span:
                raise ValueError("freed twice")
            for first, count in span.runs:
                self._free.give(first, count)

    def wipe(self, span: Span) -> None:
        """Overwrites its bytes, before `free`: deleted is deleted."""
        try:
            self._write(span, memoryview(bytes(span.length)))
        except OSError as exc:
            logger.warning("A deleted embedding stays in memory until its place is used again: %s", exc.strerror)

    def close(self) -> None:
        """The file is gone for those who have not attached; others keep their mapping. Not while anyone puts."""
        self._path.unlink(missing_ok=True)
        self.view.close()
        with self._growing:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _allocate(self, length: int) -> Span | None:
        pages = pages_of(length)
        span = self._take(pages, length)
        while span is None and self._grow(pages):
            span = self._take(pages, length)
        return span or self._take(pages, length, scattered=True)

    def _take(self, pages: int, length: int, scattered: bool = False) -> Span | None:
        with self._lock:
            run = self._free.take_run(pages)
            runs = [run] if run else self._free.take_scattered(pages) if scattered else None
            if not runs:
                return None
            self._last_ticket += 1
            span = Span(tuple(runs), length, self._last_ticket)
            self._used[runs[0][0]] = span
            return span

    def _grow(self, pages: int) -> bool:
        """By as much as is needed or by a good piece. Whether there are more pages now."""
        with self._growing:
            left = self._pages - self._grown
            if self._fd < 0 or not left or pages > self._pages or self._clock() < self._full_until_s:
                return False
            wanted = min(max(pages, GROW_BYTES // PAGE_BYTES), left)
            return self._grow_by(wanted) or (pages < wanted and self._grow_by(pages)) or self._cannot_grow()

    def _grow_by(self, pages: int) -> bool:
        try:
            os.posix_fallocate(self._fd, self._start + self._grown * PAGE_BYTES, pages * PAGE_BYTES)
        except OSError as exc:
            self._why_full = exc.strerror
            return False
        with self._lock:
            self._free.give(self._grown, pages)
            self._grown += pages
        return True

    def _cannot_grow(self) -> bool:
        """Never true."""
        logger.warning(
            "Host memory for embeddings stays at %d MiB instead of %d: %s",
            self._grown * PAGE_BYTES >> 20, self._pages * PAGE_BYTES >> 20, self._why_full,
        )  # fmt: skip
        self._full_until_s = self._clock() + GROW_AGAIN_S
        return False

    def _write(self, span: Span, data: memoryview) -> None:
        at = 0
        for first, count in span.runs:
            begin, end = self._start + first * PAGE_BYTES, min(at + count * PAGE_BYTES, span.length)
            while at < end:
                written = os.pwrite(self._fd, data[at:end], begin)
                at, begin = at + written, begin + written
