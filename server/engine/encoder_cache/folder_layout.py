"""Where things lie in a folder of embeddings: paths by namespace, shelf and key, and what is found on a walk.

ROOT/NAMESPACE[:16]/new|kept|pinned/KEY[:2]/KEY.emb    entries: not yet hit, hit, never evicted
ROOT/NAMESPACE[:16]/new/KEY[:2]/KEY.WRITER.part        being written; its writer holds a lock on it
ROOT/NAMESPACE[:16]/forgotten/KEY                      a mark of deletion
ROOT/NAMESPACE[:16]/used                               touched by engines that use the namespace
ROOT/NAMESPACE[:16]/evicted                            keys that went before they were hit
ROOT/ledger                                            locked by who reserves or frees bytes
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Shelf = Literal["new", "kept", "pinned"]

SHELVES: tuple[Shelf, ...] = ("new", "kept", "pinned")
# Entries move forward, but for unpinning: who looks in this order misses none.
WAY_OF_ENTRIES: tuple[Shelf, ...] = (*SHELVES, "kept")
FORGOTTEN, USED, GHOSTS, LEDGER = "forgotten", "used", "evicted", "ledger"
ENTRY = re.compile(r"([0-9a-f]{64})\.emb")
PART = re.compile(r"[0-9a-f]{64}\.[0-9a-z-]+\.part")
KEY = re.compile(r"[0-9a-f]{64}")
SHORT = re.compile(r"[0-9a-f]{16}")
SHORT_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file that lies where an entry should. Nothing has been read of it."""

    path: str
    namespace: str
    shelf: Shelf
    key: str
    size_bytes: int
    changed_s: float


def short(namespace: str) -> str:
    """The name of a namespace's folder."""
    return namespace[:SHORT_DIGITS]


def entry_path(root: str, namespace: str, shelf: Shelf, key: str) -> str:
    return f"{root}/{namespace[:SHORT_DIGITS]}/{shelf}/{key[:2]}/{key}.emb"


def namespaces(root: str) -> list[str]:
    """Folders' names, 16 digits each. A link is none, but for the root's own."""
    return sorted(
        e.name for e in listed(f"{root}/.") if SHORT.fullmatch(e.name) and e.is_dir(follow_symlinks=False)
    )


def entries(root: str, namespace: str, shelves: tuple[Shelf, ...] = SHELVES) -> Iterator[Found]:
    for shelf in shelves:
        for item in on_shelf(root, namespace, shelf):
            named = ENTRY.fullmatch(item.name)
            if named and (status := status_of(item)):
                yield Found(item.path, short(namespace), shelf, named[1], status.st_size, status.st_mtime)


def parts(root: str, namespace: str) -> Iterator[os.DirEntry[str]]:
    return (item for item in on_shelf(root, namespace, "new") if PART.fullmatch(item.name))


def on_shelf(root: str, namespace: str, shelf: Shelf) -> Iterator[os.DirEntry[str]]:
    for shard in listed(f"{root}/{short(namespace)}/{shelf}"):
        if shard.is_dir(follow_symlinks=False):
            yield from listed(shard.path)


def listed(folder: str) -> list[os.DirEntry[str]]:
    """Nothing where there is none (folders come and go while others walk), or where a link leads elsewhere."""
    if os.path.islink(folder):
        return []
    try:
        with os.scandir(folder) as items:
            return list(items)
    except OSError:
        return []


def status_of(item: os.DirEntry[str]) -> os.stat_result | None:
    """Of a regular file that is still there."""
    try:
        return item.stat(follow_symlinks=False) if item.is_file(follow_symlinks=False) else None
    except OSError:
        return None


def make_folders(root: str, *below: str) -> str:
    """Each 0700, and none below the root a link to somewhere else. The last one's path. Raises OSError."""
    os.makedirs(root, mode=0o700, exist_ok=True)
    folder = root
    for name in below:
        folder = f"{folder}/{name}"
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            if os.path.islink(folder):
                raise NotADirectoryError(f"{name} is a link") from None
    return folder
