"""Keys that were evicted before they were ever hit: one of them that is written again belongs to what is kept.

S3-FIFO's ghost queue, in a file of each namespace that sweeps write and writers read. Without it, pictures that
come back at longer intervals than a tenth of the capacity lasts would never displace what was loved once. A hint:
a quarter of a key each, and a broken file only makes for other evictions.
"""

import os
import stat
from collections.abc import Sequence

from server.engine.encoder_cache.entry_file import READ_FLAGS
from server.engine.encoder_cache.folder_layout import GHOSTS, short

DIGITS, KEY_BYTES = 16, 8
MOST = 65_536
PART_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def remember(root: str, namespace: str, keys: Sequence[str], most: int) -> None:
    """Behind those of before, of which the oldest go. The ledger must be held. Raises OSError."""
    fresh = b"".join(bytes.fromhex(key[:DIGITS]) for key in keys)
    kept = (read(root, namespace) + fresh)[-min(most, MOST) * KEY_BYTES :]
    part = f"{path_of(root, namespace)}.part"  # Always the same: one that a killed sweep left is written over.
    with open(os.open(part, PART_FLAGS, 0o600), "wb") as file:
        file.write(kept)
    os.replace(part, path_of(root, namespace))


def read(root: str, namespace: str) -> bytes:
    """Whole keys, at most MOST of them. Raises OSError, but not where there are none."""
    try:
        fd = os.open(path_of(root, namespace), READ_FLAGS)
    except FileNotFoundError:
        return b""
    try:
        raw = os.read(fd, MOST * KEY_BYTES) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)
    return raw[: len(raw) // KEY_BYTES * KEY_BYTES]


def path_of(root: str, namespace: str) -> str:
    return f"{root}/{short(namespace)}/{GHOSTS}"


class Ghosts:
    """Of one namespace, read again when a sweep has written. Any thread may ask."""

    def __init__(self, root: str, namespace: str) -> None:
        self.root, self.namespace = root, namespace
        self.read_of: tuple[int, int] | None = None
        self.keys: frozenset[bytes] = frozenset()

    def __contains__(self, key: str) -> bool:
        """Raises nothing: what cannot be read is none."""
        try:
            status = os.stat(path_of(self.root, self.namespace), follow_symlinks=False)
            if self.read_of != (status.st_ino, status.st_mtime_ns):
                raw = read(self.root, self.namespace)
                self.keys = frozenset(raw[at : at + KEY_BYTES] for at in range(0, len(raw), KEY_BYTES))
                self.read_of = status.st_ino, status.st_mtime_ns
        except OSError:
            return False
        return bytes.fromhex(key[:DIGITS]) in self.keys
