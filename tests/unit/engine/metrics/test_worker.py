from types import SimpleNamespace as Some
from typing import Any

from server.engine.metrics.worker import TellsKvCacheBytes


class Tensor:
    def __init__(self, at: int, size: int) -> None:
        self._storage = Some(data_ptr=lambda: at, nbytes=lambda: size)

    def untyped_storage(self) -> Any:
        return self._storage


def worker(**runner: Any) -> TellsKvCacheBytes:
    made = TellsKvCacheBytes()
    made.model_runner = Some(**runner)
    return made


def test_layers_that_share_an_allocation_count_it_once() -> None:
    attention, convolution, state = Tensor(1, 100), Tensor(2, 30), Tensor(1, 100)
    assert worker(kv_caches=[attention, [convolution, state]]).fovea_kv_cache_bytes() == 130


def test_a_worker_that_cannot_tell_serves_on() -> None:
    assert worker().fovea_kv_cache_bytes() == 0
    assert worker(kv_caches=[None]).fovea_kv_cache_bytes() == 0
