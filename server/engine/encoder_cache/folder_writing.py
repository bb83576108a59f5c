"""An entry's way into a folder: reserved in the ledger, written to a part of its own, put in place whole."""

import errno
import fcntl
import os
import secrets
import time
from dataclasses import dataclass

from server.engine.encoder_cache.entry import HEADER_BYTES, BadEntry, Header
from server.engine.encoder_cache.entry_file import WRITE_FLAGS, read_file_header, remove, write_all
from server.engine.encoder_cache.folder_layout import WAY_OF_ENTRIES, Shelf, entry_path, make_folders, short
from server.engine.encoder_cache.forgotten import is_forgotten
from server.engine.encoder_cache.janitor import sweep
from server.engine.encoder_cache.ledger import Sums, open_ledger

LOCK_WAIT_S = 2.0
# An entry, and all that is pinned, takes up half the capacity at most: something can always make way.
LARGEST_SHARE = 0.5
LARGEST_ENTRY_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace in a folder, and what the folder may hold."""

    root: str
    namespace: str
    capacity_bytes: int
    ttl_s: float | None

    @property
    def largest_bytes(self) -> int:
        return min(int(self.capacity_bytes * LARGEST_SHARE), LARGEST_ENTRY_BYTES)

    def is_over(self, key: str, created_s: float) -> bool:
        """Too old (or from a future that is as far away), or forgotten since it was computed."""
        if self.ttl_s is not None and abs(time.time() - created_s) > self.ttl_s:
            return True
        return is_forgotten(self.root, self.namespace, key, created_s)


@dataclass(frozen=True, slots=True)
class Reserved:
    """A part of the full length, empty yet, which counts in the ledger. Its lock says that its writer lives."""

    fd: int
    path: str
    sums: Sums
    evicted: int


def reserve(place: Place, key: str, size_bytes: int) -> Reserved:
    """Evicts what has to go. Raises OSError; ENOSPC where nothing more can go."""
    with open_ledger(place.root, LOCK_WAIT_S) as ledger:
        sums, evicted = ledger.read(), 0
        if sums is None or sums.used_bytes + size_bytes > place.capacity_bytes:
            swept = sweep(place.root, ledger, place.capacity_bytes, size_bytes)
            sums, evicted = swept.sums, swept.evicted
        used = sums.used_bytes + size_bytes
        if used > place.capacity_bytes:
            raise OSError(errno.ENOSPC, "what is pinned and under way takes it all up")
        sums = Sums(used, sums.entries + 1, place.capacity_bytes, sums.swept_s)
        ledger.write(sums)  # First: who is killed here leaves it too high, never too low.
        fd, path = make_part(place, key, size_bytes)
    return Reserved(fd, path, sums, evicted)


def make_part(place: Place, key: str, size_bytes: int) -> tuple[int, str]:
    """Under the ledger's lock, so that no sweep meets a part without its size and its writer's lock."""
    folder = make_folders(place.root, short(place.namespace), "new", key[:2])
    path = f"{folder}/{key}.{os.getpid()}-{secrets.token_hex(4)}.part"
    fd = os.open(path, WRITE_FLAGS, 0o600)
    try:
        lock_part(fd)
        os.ftruncate(fd, size_bytes)
    except BaseException:
        os.close(fd)
        remove(path)
        raise
    return fd, path


def lock_part(fd: int) -> None:
    """A file system without locks does without: its dead parts go by their age."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        if problem.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EBADF):
            raise


def publish(place: Place, key: str, header: bytes, payload: memoryview, fresh: Shelf = "new") -> Reserved:
    """`fresh` is where it goes if there is none of that key yet.

    Raises OSError, and then leaves nothing behind but a ledger that is too high until the next sweep.
    """
    size = len(header) + len(payload)
    if size > place.largest_bytes:
        raise OSError(errno.EFBIG, "larger than half of what the folder may hold")
    reserved = reserve(place, key, size)
    try:
        write_all(reserved.fd, header, payload)
        put_in_place(place, key, reserved.path, shelf_of(place, key) or fresh)
    except BaseException:
        remove(reserved.path)
        raise
    finally:
        os.close(reserved.fd)
    return reserved


def put_in_place(place: Place, key: str, part: str, shelf: Shelf) -> None:
    make_folders(place.root, short(place.namespace), shelf, key[:2])
    os.replace(part, entry_path(place.root, place.namespace, shelf, key))


def shelf_of(place: Place, key: str) -> Shelf | None:
    """Where one of that key lies that is to be replaced."""
    for shelf in WAY_OF_ENTRIES:
        if os.path.lexists(entry_path(place.root, place.namespace, shelf, key)):
            return shelf
    return None


def is_kept(place: Place, key: str, told: Header) -> bool:
    """Whether the same lies there already: written by a neighbour, or before a restart. Its payload is not read."""
    for shelf in WAY_OF_ENTRIES:
        path = entry_path(place.root, place.namespace, shelf, key)
        try:
            there = read_file_header(path, HEADER_BYTES + told.payload_bytes, place.namespace, key)
        except (OSError, BadEntry):
            continue
        is_alike = (there.shape, there.dtype, there.encoding) == (told.shape, told.dtype, told.encoding)
        if is_alike and not place.is_over(key, there.created_s):
            return True
    return False
