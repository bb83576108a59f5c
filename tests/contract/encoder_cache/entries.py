"""Embeddings of pictures that nobody has: what tiers are tried with."""

import time

from server.engine.encoder_cache.entry import Embedding, key_of, pack

NAMESPACE, OTHER_NAMESPACE = "ab" * 32, "cd" * 32


def embedding(name: str, tokens: int = 16, width: int = 32, created_s: float | None = None) -> Embedding:
    """Its bytes say whose it is: an answer with another's is seen."""
    data = (name.encode() * (2 * tokens * width // len(name) + 1))[: 2 * tokens * width]
    created = time.time() if created_s is None else created_s
    return Embedding(key_of(name), (tokens, width), "bfloat16", "raw", memoryview(data), created)


def entry(
    name: str, tokens: int = 16, width: int = 32, namespace: str = NAMESPACE, created_s: float | None = None
) -> tuple[str, bytes, memoryview]:
    """What `put` takes."""
    made = embedding(name, tokens, width, created_s)
    return (made.key, *pack(made, namespace))
