"""One namespace's embeddings as a tar: out as a stream, in entry by entry, each proved before it is put in place.

What comes in is read by a reader of our own: it only goes forward, holds one entry at a time and ends on any file,
which tarfile does not for every Python (CVE-2025-8194). Names in a tar are compared, never used as paths.
"""

import io
import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from server.engine.encoder_cache.entry import HEADER_BYTES, BadEntry, read_header, unpack
from server.engine.encoder_cache.entry_file import reason_of
from server.engine.encoder_cache.folder_layout import Found, short
from server.engine.encoder_cache.folder_survey import read_found
from server.engine.encoder_cache.folder_writing import Place, is_kept, publish

BLOCK = 512
NAME = re.compile(rb"([0-9a-f]{16})/([0-9a-f]{64})\.emb")
SIZE = re.compile(rb"[0-7]{1,12}")
FILE = (b"0", b"\0")
# Folders, and what tar says of the next member beyond its header: nothing that an entry has.
SILENT = (b"5", b"x", b"g", b"L", b"K")
SKIP_AT_ONCE = 1 << 20


class BadArchive(Exception):
    """What cannot be read on. Its text is for the operator."""


@dataclass(slots=True)
class Moved:
    """`refused`: how many were not, by reason."""

    entries: int = 0
    bytes: int = 0
    already: int = 0
    namespace: str | None = None
    refused: Counter[str] = field(default_factory=Counter)


def export_entries(found: Iterable[Found], file: BinaryIO) -> Moved:
    """Only what proves right is written. Raises OSError of `file`."""
    moved = Moved()
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
        for each in found:
            try:
                header, raw = read_found(each)
            except FileNotFoundError:
                continue  # Evicted meanwhile.
            except BadEntry as problem:
                moved.refused[problem.reason] += 1
                continue
            except OSError as problem:
                moved.refused[reason_of(problem)] += 1
                continue
            about = tarfile.TarInfo(f"{each.namespace}/{each.key}.emb")
            about.size, about.mode, about.mtime = len(raw), 0o600, max(0, int(header.created_s))
            tar.addfile(about, io.BytesIO(raw))
            moved.entries, moved.bytes = moved.entries + 1, moved.bytes + len(raw)
            moved.namespace = header.namespace
    return moved


def import_entries(file: BinaryIO, root: str, capacity_bytes: int) -> Iterator[Moved]:
    """What has been taken so far, after each member. An archive is of one namespace: its first entry's.

    Raises BadArchive, and OSError of `file`; what was taken before stays.
    """
    moved = Moved()
    for name, raw in read_members(file, Place(root, "", capacity_bytes, None).largest_bytes):
        if raw is None:
            moved.refused["foreign"] += 1
        else:
            take(name, raw, root, capacity_bytes, moved)
        yield moved


def take(name: bytes, raw: bytes, root: str, capacity_bytes: int, moved: Moved) -> None:
    try:
        header = read_header(raw[:HEADER_BYTES], namespace=moved.namespace)
        if name != f"{short(header.namespace)}/{header.key}.emb".encode():
            raise BadEntry("key")
        payload = unpack(raw, header.namespace, header.key).data
        place = Place(root, header.namespace, capacity_bytes, None)
        if place.is_over(header.key, header.created_s):
            moved.refused["forgotten"] += 1
        elif is_kept(place, header.key, header):
            moved.already += 1
        else:
            publish(place, header.key, raw[:HEADER_BYTES], payload)
            moved.entries, moved.bytes = moved.entries + 1, moved.bytes + len(raw)
        moved.namespace = header.namespace
    except BadEntry as problem:
        moved.refused[problem.reason] += 1
    except OSError as problem:
        moved.refused[reason_of(problem)] += 1


def read_members(file: BinaryIO, largest_bytes: int) -> Iterator[tuple[bytes, bytes | None]]:
    """Each file's name and bytes; None for what is no entry by its name, kind or size. Raises BadArchive."""
    first = True
    while True:
        head = file.read(BLOCK)
        if not head.strip(b"\0"):
            if first and len(head) < BLOCK:
                raise BadArchive("it is empty")
            return
        if len(head) < BLOCK or not has_right_sum(head):
            raise BadArchive("it is not a tar" if first else "it ends in the middle, or is damaged")
        first = False
        name, kind, size = head[:100].rstrip(b"\0"), head[156:157], size_of(head)
        is_entry = kind in FILE and NAME.fullmatch(name) and HEADER_BYTES <= size <= largest_bytes
        raw = read_exactly(file, size) if is_entry else None
        skip(file, -size % BLOCK + (0 if is_entry else size))
        if kind not in SILENT:
            yield name, raw


def has_right_sum(head: bytes) -> bool:
    stated = head[148:156].strip(b" \0")
    return bool(SIZE.fullmatch(stated)) and int(stated, 8) == sum(head[:148]) + 8 * 32 + sum(head[156:])


def size_of(head: bytes) -> int:
    """Raises BadArchive: what has no length cannot be skipped."""
    stated = head[124:136].strip(b" \0")
    if not SIZE.fullmatch(stated):
        raise BadArchive("a member's length cannot be read")
    return int(stated, 8)


def read_exactly(file: BinaryIO, size: int) -> bytes:
    raw = file.read(size)
    if len(raw) != size:
        raise BadArchive("it ends in the middle")
    return raw


def skip(file: BinaryIO, size: int) -> None:
    while size > 0:
        size -= len(read_exactly(file, min(size, SKIP_AT_ONCE)))
