"""A folder of embeddings as its operator sees it: what there is, whether it is right, and less of it."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from server.engine.encoder_cache.entry import HEADER_BYTES, BadEntry, Header, read_header, unpack
from server.engine.encoder_cache.entry_file import open_file, read_all, read_file_header, reason_of, remove
from server.engine.encoder_cache.folder_layout import (
    SHELVES,
    WAY_OF_ENTRIES,
    Found,
    Shelf,
    entries,
    entry_path,
    namespaces,
    short,
)
from server.engine.encoder_cache.folder_writing import LARGEST_ENTRY_BYTES, LOCK_WAIT_S
from server.engine.encoder_cache.forgotten import read_marks
from server.engine.encoder_cache.janitor import count_all, evict, last_used_s
from server.engine.encoder_cache.ledger import Sums, open_ledger


@dataclass(frozen=True, slots=True)
class NamespaceSums:
    """`fingerprint`: its whole name, if an entry could be read; `used_s`: when an engine last used it, or 0."""

    name: str
    fingerprint: str | None
    entries: dict[Shelf, int]
    bytes: dict[Shelf, int]
    used_s: float
    forgotten: int


@dataclass(frozen=True, slots=True)
class Pruned:
    entries: int
    bytes: int


def find_all(root: str, namespace: str | None = None) -> list[Found]:
    """Of one namespace (its first 16 digits are enough), or of all."""
    wanted = namespaces(root) if namespace is None else [short(namespace)]
    return [each for name in wanted for each in entries(root, name)]


def sum_up(root: str, namespace: str) -> NamespaceSums:
    found = find_all(root, namespace)
    headers = (header_of(each) for each in found)
    return NamespaceSums(
        namespace,
        next((header.namespace for header in headers if header), None),
        {shelf: sum(each.shelf == shelf for each in found) for shelf in SHELVES},
        {shelf: sum(each.size_bytes for each in found if each.shelf == shelf) for shelf in SHELVES},
        last_used_s(root, namespace),
        len(read_marks(root, namespace)),
    )


def header_of(found: Found) -> Header | None:
    """None where there is none, or it is not of this name."""
    for path in paths_of(found):
        try:
            header = read_file_header(path, LARGEST_ENTRY_BYTES, key=found.key)
        except FileNotFoundError:
            continue
        except (OSError, BadEntry):
            return None
        return header if short(header.namespace) == found.namespace else None
    return None


def paths_of(found: Found) -> Iterator[str]:
    """Where it was found, then where an engine may have moved it meanwhile."""
    root = found.path.rsplit("/", 4)[0]
    yield found.path
    yield from (entry_path(root, found.namespace, shelf, found.key) for shelf in WAY_OF_ENTRIES)


def read_found(found: Found) -> tuple[Header, bytes]:
    """The whole file, proved. Raises OSError, BadEntry."""
    raw = read_anywhere(found)
    header = read_header(raw[:HEADER_BYTES], key=found.key)
    if short(header.namespace) != found.namespace:
        raise BadEntry("namespace")
    unpack(raw, header.namespace, found.key)
    return header, raw


def read_anywhere(found: Found) -> bytes:
    for path in paths_of(found):
        try:
            fd, status = open_file(path, LARGEST_ENTRY_BYTES)
        except FileNotFoundError:
            continue
        try:
            return read_all(fd, status.st_size)
        finally:
            os.close(fd)
    raise FileNotFoundError(errno.ENOENT, "it is gone")


def verify(found: Found) -> str | None:
    """What is wrong with it, if anything: an entry that went meanwhile is fine."""
    try:
        read_found(found)
    except FileNotFoundError:
        return None
    except BadEntry as problem:
        return problem.reason
    except OSError as problem:
        return reason_of(problem)
    return None


def prune(root: str, is_chosen: Callable[[Found], bool]) -> Pruned:
    """Raises OSError."""
    with open_ledger(root, LOCK_WAIT_S) as ledger:
        before, now = ledger.read(), time.time()
        gone = [each for each in count_all(root, now).there if is_chosen(each) and remove(each.path)]
        tally = count_all(root, now)
        capacity = before.capacity_bytes if before else 0
        ledger.write(Sums(tally.used_bytes, len(tally.there), capacity, now))
    return Pruned(len(gone), sum(each.size_bytes for each in gone))


def prune_to(root: str, goal_bytes: int) -> Pruned:
    """What is evicted first goes first; what is pinned stays. Raises OSError."""
    with open_ledger(root, LOCK_WAIT_S) as ledger:
        before, now = ledger.read(), time.time()
        tally = count_all(root, now)
        gone = evict(root, tally, goal_bytes, goal_bytes, now)
        freed = sum(each.size_bytes for each in gone)
        capacity = before.capacity_bytes if before else 0
        ledger.write(Sums(tally.used_bytes - freed, len(tally.there) - len(gone), capacity, now))
    return Pruned(len(gone), freed)
