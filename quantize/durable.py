"""Files written whole or not at all, and still there after a power cut."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quantize.errors import DiskError

DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG})


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """The only place where what is wrong with the target's disk becomes ours."""
    try:
        yield
    except OSError as problem:
        if problem.errno not in DISK_ERRORS:
            raise
        raise DiskError(f"cannot write {path}: {problem.strerror}; then run the same command again") from problem


def replace_file(path: Path, text: str) -> None:
    """Write a text file whole or not at all, durable."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def copy_file(source: Path, target: Path) -> None:
    """A real file with the same bytes, mode and times, whatever links lead to the source."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)
    with target.open("rb") as stream:
        os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def hash_file(path: Path) -> str:
    """SHA-256, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def git_hash(path: Path) -> str:
    """How git, and so the hub, names a small file."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
