"""What vLLM's workers are asked, once: `--worker-extension-cls` mixes this class into theirs."""

from collections.abc import Iterable, Iterator
from typing import Any


class TellsKvCacheBytes:
    """Its only name begins so that it can never be one of vLLM's."""

    model_runner: Any

    def fovea_kv_cache_bytes(self) -> int:
        """Bytes that are allocated for this worker's KV cache; 0 where that cannot be told."""
        try:
            return allocated_bytes(self.model_runner.kv_caches)
        except Exception:  # noqa: BLE001 - the worker serves on, whatever becomes of a metric
            return 0


def allocated_bytes(tensors: Iterable[Any]) -> int:
    """Of tensors, or lists of them (linear attention has two a layer). Shared allocations count once."""
    storages = (tensor.untyped_storage() for tensor in flatten(tensors))
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def flatten(tensors: Iterable[Any]) -> Iterator[Any]:
    for each in tensors:
        if isinstance(each, list | tuple):
            yield from flatten(each)
        else:
            yield each
