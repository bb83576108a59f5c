"""Uploads under way: files on the local disk that are gone once their upload is, or their process."""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self

from blake3 import blake3


class Part:
    """The bytes of one upload as they come, and their digest. Its methods block: call them in a thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._file: IO[bytes] = path.open("xb")
        self._hash = blake3()

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def write(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            self._file.write(piece)
            self._hash.update(piece)
            self.size += len(piece)

    def finish(self) -> None:
        """All has come: what is on the disk stays there."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def read(self) -> bytes:
        return self.path.read_bytes()

    def discard(self) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)


class Incoming:
    """A folder of this process alone, locked as long as it lives; those of dead processes are removed at start."""

    def __init__(self, folder: Path, lock: IO[str]) -> None:
        self._folder = folder
        self._lock = lock

    @classmethod
    def open(cls, parent: Path) -> Self:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(parent / "lock"):
            for each in parent.iterdir():
                if each.is_dir() and not is_alive(each):
                    shutil.rmtree(each)
            folder = parent / secrets.token_hex(8)
            folder.mkdir(mode=0o700)
            lock = (folder / "lock").open("w")
            fcntl.flock(lock, fcntl.LOCK_EX)
        return cls(folder, lock)

    def begin(self) -> Part:
        return Part(self._folder / f"{secrets.token_hex(16)}.part")

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.close()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_alive(folder: Path) -> bool:
    """Whether the process whose folder this is holds its lock. The kernel frees it, however the process ends."""
    try:
        with (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
