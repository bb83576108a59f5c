"""Keeps a folder of embeddings within its capacity: counts it, evicts, and removes what is dead.

One process at a time sweeps: it has the ledger. A writer whose reservation does not fit sweeps at once; otherwise
the engines' janitor threads see to it that somebody does each minute.
"""

import fcntl
import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass

from server.engine.encoder_cache.entry_file import READ_FLAGS, remove
from server.engine.encoder_cache.eviction import eviction_order
from server.engine.encoder_cache.folder_layout import (
    GHOSTS,
    USED,
    Found,
    entries,
    make_folders,
    namespaces,
    parts,
    short,
)
from server.engine.encoder_cache.forgotten import expire_marks
from server.engine.encoder_cache.ghosts import remember
from server.engine.encoder_cache.ledger import Ledger, Sums

# Freed beyond what is needed, so that a full folder is not counted anew for every entry.
SLACK = 0.05
LIVE_S = 3600.0
# Of a writer that cannot be asked whether it lives (a file system without locks).
DEAD_PART_S = 600.0


@dataclass(frozen=True, slots=True)
class Swept:
    sums: Sums
    evicted: int


@dataclass(frozen=True, slots=True)
class Tally:
    """Everything that lies there."""

    there: list[Found]
    part_bytes: int

    @property
    def used_bytes(self) -> int:
        return self.part_bytes + sum(each.size_bytes for each in self.there)


def sweep(root: str, ledger: Ledger, capacity_bytes: int, room_bytes: int = 0) -> Swept:
    """Afterwards `room_bytes` more fit into the capacity, unless pins and parts under way are in the way.

    Raises OSError only of the ledger's own file.
    """
    now = time.time()
    tally = count_all(root, now)
    used, evicted = tally.used_bytes, 0
    if used + room_bytes > capacity_bytes:
        goal = min(capacity_bytes - room_bytes, int(capacity_bytes * (1 - SLACK)))
        gone = evict(root, tally, goal, capacity_bytes, now)
        used, evicted = used - sum(each.size_bytes for each in gone), len(gone)
        remember_unhit(root, gone, len(tally.there))
    sums = Sums(used, len(tally.there) - evicted, capacity_bytes, now)
    ledger.write(sums)
    return Swept(sums, evicted)


def remember_unhit(root: str, gone: list[Found], most: int) -> None:
    for namespace in {each.namespace for each in gone}:
        unhit = [each.key for each in gone if each.namespace == namespace and each.shelf == "new"]
        with suppress(OSError):  # As on a full disk: room has been made all the same.
            remember(root, namespace, unhit, most)


def count_all(root: str, now: float) -> Tally:
    """Removes what is dead. The ledger must be held."""
    there: list[Found] = []
    part_bytes = 0
    for namespace in namespaces(root):
        expire_marks(root, namespace, now)
        part_bytes += sum(live_part_bytes(part, now) for part in parts(root, namespace))
        found = list(entries(root, namespace))
        if not found and is_abandoned(root, namespace, now):
            remove_empty(root, namespace)
        there += found
    return Tally(there, part_bytes)


def evict(root: str, tally: Tally, goal_bytes: int, capacity_bytes: int, now: float) -> list[Found]:
    """What went. The ledger must be held."""
    used, gone = tally.used_bytes, []
    for each in eviction_order(tally.there, live_namespaces(root, now), capacity_bytes, now):
        if used <= goal_bytes:
            break
        if remove(each.path):
            used -= each.size_bytes
            gone.append(each)
    return gone


def expire(root: str, namespace: str, ttl_s: float) -> int:
    """How many went, pinned ones, too: of those that were not asked for so long. What was asked for since goes when
    it is asked for next: its time is that of its last hit.
    """
    old = (each for each in entries(root, namespace) if time.time() - each.changed_s > ttl_s)
    return sum([remove(each.path) for each in old])


def remove_empty(root: str, namespace: str) -> None:
    """The folders of a namespace that holds no entries any more. What is nobody's of ours stays."""
    folder = f"{root}/{short(namespace)}"
    for name in (USED, GHOSTS):
        remove(f"{folder}/{name}")
    for below, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):
            os.rmdir(below)


def live_part_bytes(part: os.DirEntry[str], now: float) -> int:
    """What it takes up; 0 for one whose writer has died, which is removed. The ledger must be held."""
    try:
        status = part.stat(follow_symlinks=False)
        fd = os.open(part.path, READ_FLAGS)
    except OSError:
        remove(part.path)
        return 0
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        dead = True
    except BlockingIOError:
        dead = False
    except OSError:
        dead = now - status.st_mtime > DEAD_PART_S
    finally:
        os.close(fd)
    return 0 if dead and remove(part.path) else status.st_size


def live_namespaces(root: str, now: float) -> set[str]:
    return {name for name in namespaces(root) if now - last_used_s(root, name) < LIVE_S}


def is_abandoned(root: str, namespace: str, now: float) -> bool:
    """Nobody has come to it, or used it, for an hour: not so of one that an engine is making at this moment."""
    try:
        changed_s = os.stat(f"{root}/{short(namespace)}", follow_symlinks=False).st_mtime
    except OSError:
        return False
    return now - max(changed_s, last_used_s(root, namespace)) > LIVE_S


def last_used_s(root: str, namespace: str) -> float:
    """When an engine last said that it uses it; 0.0 if none ever did."""
    try:
        return os.stat(f"{root}/{short(namespace)}/{USED}", follow_symlinks=False).st_mtime
    except OSError:
        return 0.0


def mark_used(root: str, namespace: str) -> None:
    """Raises OSError."""
    make_folders(root, short(namespace))
    path = f"{root}/{short(namespace)}/{USED}"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600))
    os.utime(path, follow_symlinks=False)


def is_open_to_others(root: str, namespace: str) -> bool:
    """Whether more users than ours may write here: who may could forge entries."""
    try:
        return bool(os.stat(f"{root}/{short(namespace)}").st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    except OSError:
        return False
