"""Folder tiers, and embeddings that say whose they are, for the tests of everything in a folder."""

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blake3 import blake3

from server.engine.encoder_cache.entry import HEADER_BYTES, Embedding, key_of, pack
from server.engine.encoder_cache.folder_tier import FolderTier

NAMESPACE, OTHER = "ab" * 32, "cd" * 32
WIDTH = 64
ROW = 2 * WIDTH


def embedding_of(name: str, rows: int = 4, created_s: float | None = None) -> Embedding:
    """What it holds follows from the name, so a wrong picture would be noticed."""
    data = blake3(name.encode()).digest(rows * ROW)
    created = time.time() if created_s is None else created_s
    return Embedding(key_of(name), (rows, WIDTH), "bfloat16", "raw", memoryview(data), created)


def size_of(rows: int) -> int:
    return HEADER_BYTES + rows * ROW


def put(tier: FolderTier, name: str, rows: int = 4, created_s: float | None = None) -> bool:
    header, payload = pack(embedding_of(name, rows, created_s), tier.place.namespace)
    return tier.put(key_of(name), header, payload)


def has(tier: FolderTier, name: str, rows: int = 4) -> bool:
    """Whether it is there. Fails if anything else is served in its place."""
    found = tier.get(key_of(name))
    if found is None:
        return False
    assert (found.key, found.shape, found.dtype) == (key_of(name), (rows, WIDTH), "bfloat16")
    assert bytes(found.data) == bytes(embedding_of(name, rows).data)
    return True


@contextmanager
def folder_tier(
    root: Path, capacity: int = 1 << 20, ttl_s: float | None = None, namespace: str = NAMESPACE
) -> Iterator[FolderTier]:
    tier = FolderTier(root, namespace, capacity, ttl_s)
    try:
        yield tier
    finally:
        tier.close()


def files(root: Path, pattern: str = "*.emb") -> list[Path]:
    return sorted(root.rglob(pattern))


def bytes_in(root: Path) -> int:
    return sum(path.stat().st_size for path in (*files(root), *files(root, "*.part")))


@contextmanager
def as_somebody_else(root: Path) -> Iterator[None]:
    """Root may read everything, so it becomes nobody; others take their own rights away."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
        return
    folders = [root / NAMESPACE[:16], root]
    for folder in folders:
        folder.chmod(0)
    try:
        yield
    finally:
        for folder in reversed(folders):
            folder.chmod(0o700)


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """The kernel refuses what is longer, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
