"""The audit lines' own file: readable by its owner alone, and bounded by beginning a new one."""

import os
from pathlib import Path
from stat import S_ISREG


class AuditFile:
    """At most `max_bytes` in it and in each of the `backups` older ones: PATH.1 is the youngest of these."""

    def __init__(self, path: Path, max_bytes: int, backups: int) -> None:
        """Raises OSError."""
        self._path = path
        self._max_bytes = max_bytes
        self._backups = backups
        self._open()

    def write(self, lines: list[bytes]) -> None:
        """Raises OSError; some of the lines may have been written then."""
        room = self._max_bytes - self._size
        batch: list[bytes] = []
        for line in lines:
            if len(line) > room and self._is_file and (batch or self._size):
                self._append(batch)
                self._rotate()
                batch, room = [], self._max_bytes
            batch.append(line)
            room -= len(line)
        self._append(batch)

    def close(self) -> None:
        os.close(self._file)

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        found = os.fstat(self._file)
        # A terminal or a pipe has no size, and cannot be put aside.
        self._is_file, self._size = S_ISREG(found.st_mode), found.st_size

    def _append(self, lines: list[bytes]) -> None:
        left = memoryview(b"".join(lines))
        while left:
            written = os.write(self._file, left)
            self._size += written
            left = left[written:]

    def _rotate(self) -> None:
        for number in range(self._backups, 0, -1):
            older = self._numbered(number - 1) if number > 1 else self._path
            if older.exists():
                older.replace(self._numbered(number))
        full = self._file
        self._open()
        os.close(full)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
