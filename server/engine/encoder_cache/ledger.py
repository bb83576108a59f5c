"""What a folder of embeddings holds, agreed on by every process that uses it: a small file, which is the lock.

Bytes are reserved here before they are written, so the folder stays within its capacity whoever writes. The figure
is never too low: who dies after reserving leaves it too high, until the next sweep counts anew.
"""

import errno
import fcntl
import os
import stat
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from blake3 import blake3

from server.engine.encoder_cache.folder_layout import LEDGER, make_folders

LINE = struct.Struct("<8sQQQd")
MAGIC = b"FOVEALGR"
SUM_BYTES = 16
FIRST_WAIT_S, LONGEST_WAIT_S = 0.0005, 0.004
FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Sums:
    """Of the whole folder: all namespaces' entries and parts. `capacity_bytes`: what the last engine gave it."""

    used_bytes: int
    entries: int
    capacity_bytes: int
    swept_s: float


class Ledger:
    """Open and locked: nobody else reserves or frees."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def read(self) -> Sums | None:
        """None if it was never written, or is not as it was: then count."""
        raw = os.pread(self.fd, LINE.size + SUM_BYTES, 0)
        line = raw[: LINE.size]
        if len(raw) != LINE.size + SUM_BYTES or blake3(line).digest(SUM_BYTES) != raw[LINE.size :]:
            return None
        magic, *values = LINE.unpack(line)
        return Sums(*values) if magic == MAGIC else None

    def write(self, sums: Sums) -> None:
        line = LINE.pack(MAGIC, sums.used_bytes, sums.entries, sums.capacity_bytes, sums.swept_s)
        os.pwrite(self.fd, line + blake3(line).digest(SUM_BYTES), 0)


@contextmanager
def open_ledger(root: str, wait_s: float) -> Iterator[Ledger]:
    """Makes the root where there is none. Raises OSError; ETIMEDOUT if others hold the lock for longer."""
    fd = locked_file(root, time.monotonic() + wait_s)
    try:
        yield Ledger(fd)
    finally:
        os.close(fd)


def locked_file(root: str, deadline: float) -> int:
    while True:
        fd = open_lock(root)
        try:
            lock(fd, deadline)
            if is_in_place(fd, root):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        if time.monotonic() >= deadline:
            raise OSError(errno.ETIMEDOUT, "the ledger is taken away again and again")


def read_sums(root: str) -> Sums | None:
    """As the engines last agreed, for who only looks: without the lock. Raises OSError."""
    try:
        fd = os.open(f"{root}/{LEDGER}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return Ledger(fd).read()
    finally:
        os.close(fd)


def open_lock(root: str) -> int:
    path = f"{root}/{LEDGER}"
    try:
        fd = os.open(path, FLAGS, 0o600)
    except FileNotFoundError:
        make_folders(root)
        fd = os.open(path, FLAGS, 0o600)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.ENXIO, "the ledger is not a regular file")
    return fd


def lock(fd: int, deadline: float) -> None:
    """Asks again and again: a lock that is waited for cannot be given up."""
    pause_s = FIRST_WAIT_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise OSError(errno.ETIMEDOUT, "the ledger is held by others") from None
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_WAIT_S)
        else:
            return


def is_in_place(fd: int, root: str) -> bool:
    """Not so if the folder was removed, and perhaps made again, while we waited."""
    try:
        there = os.stat(f"{root}/{LEDGER}", follow_symlinks=False)
    except FileNotFoundError:
        return False
    mine = os.fstat(fd)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)
