"""The file that an arena lies in: where there is room, under a name of its own, swept when its owner is dead.

It keeps its name as long as its engine lives. Workers open it by path: /proc/PID/fd would ask for the same user
*and* a process that may be looked into (not so under hidepid, gVisor, or after setuid), and a worker may come late.
So that a killed engine leaves nothing behind for good, the owner holds an flock on it, which ends with the process
(and with workers that were forked from it); whoever starts next removes what nobody holds.
"""

import contextlib
import fcntl
import logging
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

logger = logging.getLogger(__name__)

PREFIX, SUFFIX = "fovea-embeddings-", ".arena"
# A folder with less room than this (Docker's /dev/shm has 64 MB) is taken only if none has more.
ENOUGH_BYTES = 256 << 20


def room_in(folder: Path) -> int:
    """Half of what is free there: NCCL, and vLLM's own queues, live in /dev/shm, too. 0 where we cannot be."""
    try:
        if not os.access(folder, os.W_OK | os.X_OK):
            return 0
        system = os.statvfs(folder)
    except OSError:
        return 0
    return system.f_bavail * system.f_frsize // 2


def choose(folders: Sequence[Path], wanted_bytes: int) -> tuple[Path, int]:
    """The first folder with room for it, or for enough of it, else the roomiest; and how many bytes of it."""
    rooms = [(folder, min(room_in(folder), wanted_bytes)) for folder in folders]
    enough = (each for each in rooms if each[1] >= min(wanted_bytes, ENOUGH_BYTES))
    folder, room = next(enough, None) or max(rooms, key=lambda each: each[1])
    if room < wanted_bytes or folder != folders[0]:
        logger.warning(
            "Host memory for embeddings: %d MiB in %s, asked for %d MiB in %s, where %d MiB can be had",
            room >> 20, folder, wanted_bytes >> 20, folders[0], rooms[0][1] >> 20,
        )  # fmt: skip
    return folder, room


def create(folder: Path, engine_id: str, size: int) -> tuple[int, Path]:
    """A new file of that length, nothing of it allocated yet, locked by us. Raises OSError."""
    engine = re.sub(r"[^A-Za-z0-9]", "", engine_id)[:16]
    while True:
        path = folder / f"{PREFIX}{engine}-{secrets.token_hex(8)}{SUFFIX}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        if _lock(fd) and os.fstat(fd).st_nlink:
            break
        os.close(fd)  # A sweeper came between the two lines.
    os.ftruncate(fd, size)
    return fd, path


def sweep(folder: Path) -> int:
    """Removes files of ours whose owner is gone. How many."""
    swept = 0
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{PREFIX}*{SUFFIX}"):
            swept += _removed_if_left(path)
    if swept:
        logger.info("Removed %d memory files of engines that ended without doing so", swept)
    return swept


def _removed_if_left(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False  # Another user's, or gone already.
    try:
        if os.fstat(fd).st_uid != os.getuid() or not _lock(fd):
            return False
        path.unlink()
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
