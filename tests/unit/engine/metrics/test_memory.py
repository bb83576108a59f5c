from types import SimpleNamespace as Some
from typing import Any

import pytest

from server.engine.metrics.kv_usage import KvUsage
from server.engine.metrics.memory import EngineMemory, embedding_width, memory_of


def usage_of(*shares: float) -> KvUsage:
    usage = KvUsage()
    usage.begin(list(range(len(shares))))
    for engine, share in enumerate(shares):
        usage.note(engine, share)
    return usage


def told(memory: EngineMemory) -> dict[str, float]:
    """Without what all names have in common."""
    assert all(list(samples) == [("m",)] for samples in memory().values())
    return {name.removeprefix("fovea_"): samples["m",] for name, samples in memory().items()}


def test_what_is_used_is_told_in_tokens_and_bytes() -> None:
    usage = usage_of(0.5)
    usage.note(0, 0.25)
    assert told(EngineMemory("m", 1000, 2048, 8192, usage, kv_bytes=4_000_000)) == {
        "kv_cache_capacity_bytes": 4_000_000,
        "kv_cache_capacity_tokens": 1000,
        "kv_cache_used_bytes": 1_000_000,
        "kv_cache_used_tokens": 250,
        "kv_cache_high_water_tokens": 500,
        "encoder_memory_capacity_tokens": 2048,
        "encoder_memory_capacity_bytes": 8192,
    }


def test_engine_cores_of_one_server_add_up() -> None:
    found = told(EngineMemory("m", 1000, 0, 0, usage_of(0.5, 0.25), kv_bytes=4_000))
    assert (found["kv_cache_capacity_tokens"], found["kv_cache_used_tokens"]) == (2000, 750)
    assert (found["kv_cache_capacity_bytes"], found["kv_cache_used_bytes"]) == (8_000, 3_000)


def test_bytes_are_left_out_until_workers_have_told_them() -> None:
    assert not [name for name in told(EngineMemory("m", 1000, 0, 0, usage_of(0.5))) if name.endswith("bytes")]


def test_an_engine_that_keeps_no_statistics_tells_its_capacity_alone() -> None:
    assert set(told(EngineMemory("m", 1000, 0, 0, KvUsage(), kv_bytes=10))) == {
        "kv_cache_capacity_bytes",
        "kv_cache_capacity_tokens",
    }


def model(levels: Any = None) -> Any:
    vision = Some() if levels is None else Some(deepstack_visual_indexes=levels)
    config = Some(vision_config=vision)
    return Some(hf_config=config, get_inputs_embeds_size=lambda: 256, dtype=Some(itemsize=2), served_model_name="m")


@pytest.mark.parametrize(("levels", "width"), [(None, 256), ([], 256), ([8, 16, 24], 1024)])
def test_an_embedding_is_as_wide_as_its_levels_together(levels: Any, width: int) -> None:
    assert embedding_width(model(levels)) == width


def test_it_is_read_off_vllms_configuration() -> None:
    config = Some(model_config=model([]), cache_config=Some(kv_cache_size_tokens=None))
    memory = memory_of(config, 2048, KvUsage())
    assert (memory.model_name, memory.kv_tokens, memory.encoder_bytes) == ("m", 0, 2048 * 256 * 2)
