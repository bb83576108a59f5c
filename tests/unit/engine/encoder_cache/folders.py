"""Folder tiers, and embeddings that say whose they are, for the tests of everything in a folder."""

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
