"""A program for the environment that has torch: a picture is forgotten while its embedding waits to be written.

Prints how many entries the folder holds in the end: of what was saved before the deletion, and of what came after.
"""

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch

from server.engine.encoder_cache import forgotten
from server.engine.encoder_cache.arena import Arena
from server.engine.encoder_cache.entry import Embedding, key_of
from server.engine.encoder_cache.folder_tier import FolderTier
from server.engine.encoder_cache.loading import Loading
from server.engine.encoder_cache.opening import Writing
from server.engine.encoder_cache.steps import NOTHING, Setup, StepOrders
from server.engine.encoder_cache.write_behind import WriteBehind

NAMESPACE = "ab" * 32


def run(root: Path) -> dict[str, bool]:
    forgotten.CLOCKS_APART_S = 0.0  # One machine, one clock.
    tier = FolderTier(root, NAMESPACE, 1 << 20)
    behind = WriteBehind([tier], NAMESPACE, 1 << 20)
    arena = Arena.create(1 << 20, "test", (root.parent,))
    queue_moves = threading.Event()

    def in_no_hurry() -> Embedding:
        queue_moves.wait()
        return Embedding(key_of("first"), (1, 4), "bfloat16", "raw", memoryview(bytes(8)), time.time())

    loading = Loading(torch.device("cpu"), lambda _: Writing(behind, [tier]))
    vllms_cache: dict[str, Any] = {}
    loading.start(StepOrders(setup=Setup(arena.handle, NAMESPACE, False)), vllms_cache)
    behind.offer(key_of("first"), in_no_hurry, 8)
    loading.save("cat", torch.ones(4, 64, dtype=torch.bfloat16))
    assert tier.forget(key_of("cat"))
    queue_moves.set()
    assert behind.drain(30)
    before = tier.get(key_of("cat")) is not None
    loading.start(NOTHING, vllms_cache)
    loading.save("cat", torch.ones(4, 64, dtype=torch.bfloat16))
    assert behind.drain(30)
    after = tier.get(key_of("cat")) is not None
    loading.close(30)
    arena.close()
    return {"before": before, "after": after}


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]))))
