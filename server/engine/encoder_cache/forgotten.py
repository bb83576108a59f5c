"""Marks of deletion in a folder of embeddings: what was forgotten, and when, for ten minutes.

An embedding that was computed before its mark is not served, however it got there: a write that was under way, a
writer that was killed before it could look again. Every process that shares the folder hears of new marks here.
"""

import os
import secrets
import sys
import time

from server.engine.encoder_cache.entry import BadEntry
from server.engine.encoder_cache.entry_file import WRITE_FLAGS, read_file_header, reason_of, remove
from server.engine.encoder_cache.folder_layout import (
    FORGOTTEN,
    KEY,
    PART,
    WAY_OF_ENTRIES,
    entry_path,
    listed,
    make_folders,
    short,
    status_of,
)

KEPT_S = 600.0
MAX_MARKS = 65_536
# Between the clocks of machines that share a folder. What is computed this soon after a deletion is not kept.
CLOCKS_APART_S = 2.0
# A folder's time is too coarse to tell whether something came after we looked.
COARSE_S = 2.0
# Other machines' marks may be behind what a network file system remembers of the folder.
LONGEST_UNREAD_S = 10.0


def mark_path(root: str, namespace: str, key: str) -> str:
    return f"{root}/{short(namespace)}/{FORGOTTEN}/{key}"


def mark(root: str, namespace: str, key: str) -> None:
    """From now on, nothing computed before now is served under that key. Raises OSError."""
    folder = make_folders(root, short(namespace), FORGOTTEN)
    fresh = f"{folder}/{key}.{os.getpid()}-{secrets.token_hex(4)}.part"
    fd = os.open(fresh, WRITE_FLAGS, 0o600)
    try:
        now = time.time_ns()  # Embeddings are dated by this clock; a file system's own is behind it.
        os.utime(fd, ns=(now, now))
    finally:
        os.close(fd)
    os.replace(fresh, mark_path(root, namespace, key))


def marked_s(root: str, namespace: str, key: str) -> float | None:
    """What was computed before this is forgotten."""
    try:
        return os.stat(mark_path(root, namespace, key), follow_symlinks=False).st_mtime + CLOCKS_APART_S
    except OSError:
        return None


def is_forgotten(root: str, namespace: str, key: str, created_s: float) -> bool:
    until_s = marked_s(root, namespace, key)
    return until_s is not None and created_s < until_s


def forget_entry(root: str, namespace: str, key: str) -> bool:
    """Marks it and removes it from every shelf; whether there was one. Raises OSError if it may still be there."""
    mark(root, namespace, key)
    was_there = False
    for shelf in WAY_OF_ENTRIES:
        try:
            os.unlink(entry_path(root, namespace, shelf, key))
            was_there = True
        except FileNotFoundError:
            continue
        except OSError as problem:
            if reason_of(problem) != "not_a_file":
                raise
    return was_there


def expire_marks(root: str, namespace: str, now: float, most: int = MAX_MARKS) -> None:
    """Old marks go, and with them what a writer that was killed has left for them to hide."""
    marks = sorted(read_marks(root, namespace).items(), key=lambda each: each[1])
    excess = len(marks) - most
    for place, (key, marked_ns) in enumerate(marks):
        at_s = marked_ns / 1e9
        if place < excess or abs(now - at_s) > KEPT_S:
            remove_older(root, namespace, key, at_s + CLOCKS_APART_S)
            remove(mark_path(root, namespace, key))


def remove_older(root: str, namespace: str, key: str, until_s: float) -> None:
    for shelf in WAY_OF_ENTRIES:
        path = entry_path(root, namespace, shelf, key)
        try:
            is_older = read_file_header(path, sys.maxsize).created_s < until_s
        except BadEntry:
            is_older = True
        except OSError:
            continue
        if is_older:
            remove(path)


def read_marks(root: str, namespace: str) -> dict[str, int]:
    """Each key, and when it was forgotten, in nanoseconds. Half-made marks that were left are removed."""
    marks = {}
    for item in listed(f"{root}/{short(namespace)}/{FORGOTTEN}"):
        status = status_of(item)
        if status and KEY.fullmatch(item.name):
            marks[item.name] = status.st_mtime_ns
        elif status and PART.fullmatch(item.name) and time.time() - status.st_mtime > KEPT_S:
            remove(item.path)
    return marks


class News:
    """Which marks were not there before, whoever made them. For one namespace; `since` is called by one thread."""

    def __init__(self, root: str, namespace: str) -> None:
        self.root, self.namespace = root, namespace
        self.folder_ns = 0
        self.read_s = -LONGEST_UNREAD_S
        self.heard: dict[str, tuple[int, float]] = {}

    def since(self, when_s: float) -> list[str]:
        """Keys whose marks were first seen here at `when_s` (of time.time) or later: whatever clock made them."""
        now = time.time()
        if self.may_have_changed(now):
            marks = read_marks(self.root, self.namespace)
            before = self.heard
            self.heard = {
                key: before[key] if key in before and before[key][0] == at_ns else (at_ns, now)
                for key, at_ns in marks.items()
            }
        return [key for key, (_, heard_s) in self.heard.items() if heard_s >= when_s]

    def may_have_changed(self, now: float) -> bool:
        """One stat, most of the time."""
        try:
            changed_ns = os.stat(f"{self.root}/{short(self.namespace)}/{FORGOTTEN}").st_mtime_ns
        except OSError:
            changed_ns = 0
        is_same = changed_ns == self.folder_ns and now - changed_ns / 1e9 > COARSE_S
        if is_same and 0 <= now - self.read_s < LONGEST_UNREAD_S:
            return False
        self.folder_ns, self.read_s = changed_ns, now
        return True
