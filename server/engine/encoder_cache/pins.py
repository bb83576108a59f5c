"""Entries that are never evicted: a catalogue's pictures, pinned by the operator."""

import errno
import os

from server.engine.encoder_cache.folder_layout import Shelf, entries, entry_path, make_folders, namespaces, short
from server.engine.encoder_cache.folder_writing import LARGEST_SHARE, LOCK_WAIT_S
from server.engine.encoder_cache.ledger import open_ledger


def pin(root: str, namespace: str, key: str, capacity_bytes: int) -> bool:
    """Whether it is there, and pinned now. Raises OSError; ENOSPC if pins would take up over half the capacity."""
    with open_ledger(root, LOCK_WAIT_S):
        pinned = sum(each.size_bytes for name in namespaces(root) for each in entries(root, name, ("pinned",)))
        for shelf in ("new", "kept"):
            path = entry_path(root, namespace, shelf, key)
            try:
                size = os.stat(path, follow_symlinks=False).st_size
                if pinned + size > LARGEST_SHARE * capacity_bytes:
                    raise OSError(errno.ENOSPC, "half of the capacity is pinned")
                move(root, namespace, key, shelf, "pinned")
            except FileNotFoundError:
                continue  # Or moved to the next shelf by a reader.
            return True
    return os.path.lexists(entry_path(root, namespace, "pinned", key))


def unpin(root: str, namespace: str, key: str) -> bool:
    """Whether it was pinned. Raises OSError."""
    try:
        move(root, namespace, key, "pinned", "kept")
    except FileNotFoundError:
        return False
    return True


def move(root: str, namespace: str, key: str, shelf: Shelf, to: Shelf) -> None:
    folder = make_folders(root, short(namespace), to, key[:2])
    os.rename(entry_path(root, namespace, shelf, key), f"{folder}/{key}.emb")
