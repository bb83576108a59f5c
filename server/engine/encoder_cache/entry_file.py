"""One entry in a file: read in one go and proved, or written to a part that is put in place whole.

Nothing is mapped into memory: a file that somebody cuts short would then end the engine by SIGBUS. Nothing is
synced: what a power cut tears is found by its sum.
"""

import errno
import os
import stat

from server.engine.encoder_cache.entry import HEADER_BYTES, BadEntry, Embedding, Header, read_header, unpack

READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
REASONS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "full"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "permission"),
    **dict.fromkeys((errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO, errno.ENODEV), "not_a_file"),
    errno.ETIMEDOUT: "busy",
}


def reason_of(problem: OSError) -> str:
    """One of few words, for counters: full, permission, not_a_file, busy, io."""
    return REASONS.get(problem.errno or 0, "io")


def open_file(path: str, max_bytes: int) -> tuple[int, os.stat_result]:
    """A descriptor of a regular file of a fitting size, and its status. Raises OSError, BadEntry."""
    fd = os.open(path, READ_FLAGS)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.ENXIO, "not a regular file")
        if status.st_size < HEADER_BYTES:
            raise BadEntry("truncated")
        if status.st_size > max_bytes:
            raise BadEntry("foreign")
    except BaseException:
        os.close(fd)
        raise
    return fd, status


def read_open_file(fd: int, size: int, namespace: str, key: str) -> Embedding:
    """One copy, into memory of its own, made only when the header has proved whole. Raises OSError, BadEntry."""
    header = read_header(os.pread(fd, HEADER_BYTES, 0), namespace, key)
    if size != HEADER_BYTES + header.payload_bytes:
        raise BadEntry("truncated")
    return unpack(read_all(fd, size), namespace, key)


def read_all(fd: int, size: int) -> bytes:
    """Fewer where the file has become shorter. More than one read only where a signal or a network cut it."""
    raw = os.read(fd, size)
    pieces, missing = [raw], size - len(raw)
    while missing and pieces[-1]:
        pieces.append(os.read(fd, missing))
        missing -= len(pieces[-1])
    return raw if len(pieces) == 1 else b"".join(pieces)


def read_file_header(path: str, max_bytes: int, namespace: str | None = None, key: str | None = None) -> Header:
    """Of a file as long as its header says. Raises OSError, BadEntry."""
    fd, status = open_file(path, max_bytes)
    try:
        header = read_header(os.pread(fd, HEADER_BYTES, 0), namespace, key)
    finally:
        os.close(fd)
    if status.st_size != HEADER_BYTES + header.payload_bytes:
        raise BadEntry("truncated")
    return header


def write_all(fd: int, header: bytes, payload: memoryview) -> None:
    """Raises OSError."""
    written = os.writev(fd, (header, payload))
    if written < len(header):
        raise OSError(errno.EIO, "not even a header was written")
    rest = payload[written - len(header) :]
    while rest:
        rest = rest[os.write(fd, rest) :]


def remove(path: str) -> bool:
    """Whether it is gone by our doing: a file, a link, a FIFO; never a folder."""
    try:
        os.unlink(path)
    except OSError:
        return False
    return True
