import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server.engine.gpu_check import (
    GB,
    Wish,
    notices,
    read_wish,
    refusals,
    scheme_of,
    utilization_of,
    values_of,
    visible_gpus,
    weights_of,
)
from server.engine.nvml import Driver, Gpu

PLAIN = Wish("none", None, 1, 1, 1, 0.92, "auto", elsewhere=False)
FP8 = replace(PLAIN, scheme="fp8")


def machine(*capabilities: tuple[int, int], size: int = 24 * GB) -> Driver:
    gpus = [Gpu("a GPU", each, size, size, f"GPU-{number}") for number, each in enumerate(capabilities)]
    return Driver("580.1", (13, 0), tuple(gpus))


@pytest.mark.parametrize(
    ("capability", "refused", "noticed"),
    [
        ((7, 0), "vLLM runs FP8, INT8 and 4-bit weights from 7.5 on", "W8A16"),
        ((7, 5), "", "W8A16"),
        ((8, 0), "", "a GPU has compute capability 8.0: FP8 weights run as W8A16 there"),
        ((8, 6), "", "the recipe w8a8-int8 saves both"),
        ((8, 9), "", ""),
        ((9, 0), "", ""),
        ((12, 0), "", ""),
    ],
)
def test_what_an_fp8_checkpoint_does_follows_from_the_compute_capability(
    capability: tuple[int, int], refused: str, noticed: str
) -> None:
    found = list(refusals(machine(capability), None, FP8))
    assert bool(found) is bool(refused)
    assert all(refused in each and "\n" not in each for each in found)
    told = list(notices(machine(capability), None, FP8))
    assert bool(told) is bool(noticed)
    assert all(noticed in each for each in told)
    assert list(refusals(machine(capability), None, PLAIN)) == []
    assert list(notices(machine(capability), None, PLAIN)) == []


def test_the_weakest_of_the_gpus_that_are_used_counts() -> None:
    driver, two = machine((9, 0), (7, 0)), replace(FP8, tensor_parallel=2)
    assert list(refusals(driver, None, FP8)) == []
    assert len(list(refusals(driver, None, two))) == 1
    assert len(list(refusals(driver, "1", FP8))) == 1


@pytest.mark.parametrize(("capability", "refused", "noticed"), [((7, 5), 1, 0), ((8, 0), 0, 1), ((8, 9), 0, 0)])
def test_an_fp8_cache_is_refused_where_no_kernel_knows_it(
    capability: tuple[int, int], refused: int, noticed: int
) -> None:
    wish = replace(PLAIN, cache_dtype="fp8_e4m3")
    found = list(refusals(machine(capability), None, wish))
    assert len(found) == refused
    assert all("leave out --kv-cache-dtype fp8_e4m3" in each for each in found)
    assert len(list(notices(machine(capability), None, wish))) == noticed


@pytest.mark.parametrize(
    ("wish", "visible", "says"),
    [
        ({"tensor_parallel": 4}, None, "needs 4 GPUs (--tensor-parallel-size 4) and sees 2:"),
        ({"tensor_parallel": 2, "pipeline_parallel": 2}, None, "4 GPUs (--tensor-parallel-size 2 x --pipeline-par"),
        ({"tensor_parallel": 2}, "1", "sees 1 (CUDA_VISIBLE_DEVICES=1)"),
        ({"data_parallel": 3}, None, "needs 3 GPUs (--data-parallel-size 3)"),
        ({}, "", "needs 1 GPU and sees 0 (CUDA_VISIBLE_DEVICES=)"),
        ({"tensor_parallel": 2}, None, ""),
        ({"tensor_parallel": 4, "elsewhere": True}, None, ""),
        ({"tensor_parallel": 4}, "MIG-1,MIG-2", ""),
    ],
)
def test_more_gpus_than_are_seen_are_refused(wish: dict[str, Any], visible: str | None, says: str) -> None:
    found = list(refusals(machine((9, 0), (9, 0)), visible, replace(PLAIN, **wish)))
    assert [says in each for each in found] == ([True] if says else [])


@pytest.mark.parametrize(
    ("weights", "wish", "fits"),
    [
        (18.8, {}, True),
        (22.0, {}, True),
        (22.1, {}, False),
        (18.8, {"utilization": 0.7}, False),
        (37.0, {"tensor_parallel": 2}, True),
        (45.0, {"tensor_parallel": 2}, False),
        (37.0, {"pipeline_parallel": 2}, True),
        (37.0, {"data_parallel": 2}, False),
    ],
)
def test_weights_that_cannot_fit_are_refused(weights: float, wish: dict[str, Any], fits: bool) -> None:
    found = list(refusals(machine((8, 9), (8, 9)), None, replace(PLAIN, weights_bytes=int(weights * GB), **wish)))
    assert bool(found) is not fits
    assert all("GB of weights" in each and "--tensor-parallel-size" in each for each in found)


def test_of_a_gpu_that_is_cut_up_nothing_is_known() -> None:
    whole = machine((9, 0))
    parts = replace(whole, gpus=(replace(whole.gpus[0], cut_up=True),))
    assert list(refusals(parts, None, replace(FP8, weights_bytes=50 * GB))) == []


@pytest.mark.parametrize(
    ("visible", "seen"),
    [(None, [0, 1, 2]), ("2,0", [2, 0]), ("0,7,1", [0]), ("-1", []), ("", []), ("GPU-1", [1]), ("NoDevFiles", [])],
)
def test_gpus_are_seen_as_cuda_sees_them(visible: str | None, seen: list[int]) -> None:
    driver = machine((9, 0), (9, 0), (9, 0))
    assert visible_gpus(driver, visible) == [driver.gpus[each] for each in seen]


def test_options_are_read_as_vllm_reads_them() -> None:
    given = ["--tensor-parallel-size=2", "--kv_cache_dtype", "fp8", "-tp", "4", "--enforce-eager", "--a", "-1"]
    assert values_of(given)["--kv-cache-dtype"] == "fp8"
    assert read_wish("Org/Name", given) == replace(PLAIN, tensor_parallel=2, cache_dtype="fp8")
    assert read_wish("Org/Name", ["-tp", "4", "-pp=2"]) == replace(PLAIN, tensor_parallel=4, pipeline_parallel=2)
    assert read_wish("Org/Name", ["-tp", "none"]) == PLAIN
    assert read_wish("Org/Name", ["--gpu-memory-utilization", "0.5"]).utilization == 0.5
    assert utilization_of({"--gpu-memory-utilization": "much"}) == 1.0


@pytest.mark.parametrize(
    "options",
    [
        ("--nnodes", "2"),
        ("--config", "vllm.yaml"),
        ("--distributed-executor-backend", "ray"),
        ("--data-parallel-size", "4", "--data-parallel-size-local", "1"),
    ],
)
def test_what_may_be_on_other_machines_is_left_to_vllm(options: tuple[str, ...]) -> None:
    assert read_wish("Org/Name", options).elsewhere
    assert not read_wish("Org/Name", ("--distributed-executor-backend", "mp")).elsewhere


def group(kind: str, bits: int) -> dict[str, Any]:
    return {"weights": {"type": kind, "num_bits": bits}}


@pytest.mark.parametrize(
    ("config", "scheme"),
    [
        ({}, "none"),
        ({"quantization_config": {"quant_method": "fp8"}}, "fp8"),
        ({"quantization_config": {"config_groups": {"group_0": group("float", 8)}}}, "fp8"),
        ({"text_config": {"quantization_config": {"config_groups": {"g": group("int", 8)}}}}, "int8"),
        ({"quantization_config": {"config_groups": {"g": group("int", 4)}}}, "int4"),
        ({"quantization_config": {"config_groups": {"g": group("int", 4), "h": group("float", 8)}}}, "other"),
        ({"quantization_config": {"quant_method": "awq"}}, "other"),
    ],
)
def test_the_scheme_is_what_the_config_says(tmp_path: Path, config: dict[str, Any], scheme: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert scheme_of(tmp_path) == scheme


def test_weights_are_counted_as_they_are_loaded_at_least(tmp_path: Path) -> None:
    sizes = {
        "a.weight": ("BF16", 40),
        "b.weight": ("F32", 40),
        "mtp.c": ("BF16", 40),
        "lm_head.weight": ("BF16", 8),
    }
    header, at = {}, 0
    for name, (dtype, size) in sizes.items():
        header[name] = {"dtype": dtype, "shape": [size], "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(at))
    assert weights_of(tmp_path) is None  # no checkpoint
    (tmp_path / "config.json").write_text("{}")
    assert weights_of(tmp_path) == 40 + 20 + 8
    (tmp_path / "config.json").write_text('{"text_config": {"tie_word_embeddings": true}}')
    assert weights_of(tmp_path) == 40 + 20
    assert read_wish(str(tmp_path), ["--quantization", "fp8"]).weights_bytes is None
    assert weights_of(tmp_path / "none") is None
