"""The audit lines' own file: readable by its owner alone, and bounded by beginning a new one.

Several processes may write it. Lines are appended whole, so the kernel puts them behind all others; whoever finds
the file full takes a lock, and puts it aside unless another process has just done so.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG


class AuditFile:
    """At most `max_bytes` in it and in each of the `backups` older ones: PATH.1 is the youngest of these. Of
    processes that write at the same moment, each may go beyond by what it writes at once."""

    def __init__(self, path: Path, max_bytes: int, backups: int) -> None:
        """Raises OSError."""
        self._path = path
        self._max_bytes = max_bytes
        self._backups = backups
        self._file = self._open()
        # A terminal or a pipe has no size, and cannot be put aside.
        self._is_file = S_ISREG(os.fstat(self._file).st_mode)

    def write(self, lines: list[bytes]) -> None:
        """Raises OSError; some of the lines may have been written then."""
        size = self._size()
        batch: list[bytes] = []
        for line in lines:
            if self._is_file and size and size + len(line) > self._max_bytes:
                self._append(batch)
                self._turn_over()
                batch, size = [], self._size()
            batch.append(line)
            size += len(line)
        self._append(batch)

    def close(self) -> None:
        os.close(self._file)

    def _size(self) -> int:
        return os.fstat(self._file).st_size

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _append(self, lines: list[bytes]) -> None:
        left = memoryview(b"".join(lines))
        while left:
            left = left[os.write(self._file, left) :]

    def _turn_over(self) -> None:
        with self._locked():
            if self._is_current():
                for number in range(self._backups, 0, -1):
                    older = self._numbered(number - 1) if number > 1 else self._path
                    if older.exists():
                        older.replace(self._numbered(number))
            renewed = self._open()
        os.close(self._file)
        self._file = renewed

    def _is_current(self) -> bool:
        """Whether our file is still the one that lies there, and full: another process may have put it aside."""
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._file))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """By the folder itself, so that no file of ours need lie there besides."""
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)
