"""Tiers in memory that tests can hold up, and embeddings for them."""

import threading
import time
from collections import Counter

from server.engine.encoder_cache.entry import HEADER_BYTES, Embedding, key_of, unpack
from server.engine.encoder_cache.tier import TierFigures, TierName

NAMESPACE = "ab" * 32


def embedding(name: str, rows: int = 4, created_s: float | None = None) -> Embedding:
    """Of one byte over and over, 8 bytes a row: what is mixed up would show."""
    key = key_of(name)
    data = memoryview(bytes([int(key[:2], 16)]) * (rows * 8))
    return Embedding(key, (rows, 4), "bfloat16", "raw", data, time.time() if created_s is None else created_s)


class MemoryTier:
    """`closed` holds up whoever comes while it is not set."""

    def __init__(self, *held: Embedding, name: TierName = "disk") -> None:
        self.name: TierName = name
        self.figures = TierFigures()
        self.held = {each.key: each for each in held}
        self.asked: Counter[str] = Counter()
        self.order: list[str] = []
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Semaphore(0)
        self.refuses = False

    def get(self, key: str) -> Embedding | None:
        self.asked[key] += 1
        self.entered.release()
        self.open.wait()
        return self.held.get(key)

    def put(self, key: str, header: bytes, payload: memoryview) -> bool:
        self.entered.release()
        self.open.wait()
        if self.refuses:
            return False
        assert len(header) == HEADER_BYTES
        self.held[key] = unpack(header + bytes(payload), NAMESPACE, key)
        self.order.append(key)
        return True

    def forget(self, key: str) -> bool:
        self.held.pop(key, None)
        return True

    def close(self) -> None:
        self.open.set()


class SharedFolder(MemoryTier):
    """Hears what others forget."""

    def __init__(self, *held: Embedding) -> None:
        super().__init__(*held)
        self.news: list[str] = []

    def forgotten_since(self, when_s: float) -> list[str]:
        news, self.news = self.news, []
        return news
