import struct
from pathlib import Path

import numpy as np
import pytest

from quantize import stream
from quantize.architecture import find_architecture
from quantize.checkpoint import StoredTensor, read_config, read_tensors
from quantize.durable import hash_file
from quantize.errors import DamagedShard, DiskError
from quantize.plan import Plan, make_plan
from quantize.recipe import read_recipe
from tests.unit.quantize.checkpoints import LAYER, Tensor, toy, weights, write_checkpoint

UP = f"{LAYER}.mlp.up_proj.weight"
EXPERTS, HIDDEN, WIDTH = 3, 8, 6


def plan_of(folder: Path) -> Plan:
    return make_plan(folder, read_recipe("fp8-dynamic"), find_architecture(read_config(folder)))


def written(folder: Path, out: Path) -> dict[str, StoredTensor]:
    plan, done = plan_of(folder), []
    sources = {fate.name: fate.source for fate in plan.fates}
    out.mkdir()
    (outputs,) = plan.shards.values()
    digest = stream.write_weights(out / "model.safetensors", outputs, sources, 2, done.append)
    assert digest == hash_file(out / "model.safetensors")
    assert (out / "model.safetensors").stat().st_size == plan.file_bytes
    assert sum(done) == plan.before
    return read_tensors(out)


def contents(tensors: dict[str, StoredTensor]) -> dict[str, Tensor]:
    return {name: (tensor.dtype, tensor.shape, tensor.read()) for name, tensor in tensors.items()}


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_kept_tensors_are_copied_and_quantized_ones_become_codes_and_scales(tmp_path: Path, dtype: str) -> None:
    tensors = toy(dtype)
    after = contents(written(write_checkpoint(tmp_path / "m", tensors), tmp_path / "out"))
    codes = {name for name, (kind, _, _) in after.items() if kind == "F8_E4M3"}
    assert len(codes) == 7
    assert after.keys() == tensors.keys() | {f"{name}_scale" for name in codes}
    assert {name: after[name] for name in tensors.keys() - codes} == {
        name: tensors[name] for name in tensors.keys() - codes
    }
    for name in codes:
        rows = tensors[name][1][0]
        assert after[name][1] == tensors[name][1]
        assert after[f"{name}_scale"][:2] == (dtype, (rows, 1))


def test_every_tensor_lies_aligned(tmp_path: Path) -> None:
    tensors = {**toy(), f"{LAYER}.mlp.up_proj.weight": weights("odd", 3, 5)}
    sizes = {"BF16": 2, "F8_E4M3": 1}
    after = written(write_checkpoint(tmp_path / "m", tensors), tmp_path / "out")
    assert all(tensor.start % sizes[tensor.dtype] == 0 for tensor in after.values())


def test_chunks_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_checkpoint(tmp_path / "m", toy())
    whole = contents(written(folder, tmp_path / "whole"))
    monkeypatch.setattr(stream, "CHUNK_BYTES", 20)
    assert contents(written(folder, tmp_path / "pieces")) == whole


def test_where_the_kernel_copies_nothing_we_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_checkpoint(tmp_path / "m", toy())
    whole = contents(written(folder, tmp_path / "whole"))
    monkeypatch.setattr(stream, "NO_KERNEL_COPY", frozenset({9}))

    def refuse(*_: object) -> int:
        raise OSError(9, "not here")

    monkeypatch.setattr(stream.os, "copy_file_range", refuse)
    assert contents(written(folder, tmp_path / "again")) == whole


def test_a_kernel_that_copies_nothing_and_says_so_with_a_zero_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_checkpoint(tmp_path / "m", toy())
    whole = contents(written(folder, tmp_path / "whole"))
    monkeypatch.setattr(stream.os, "copy_file_range", lambda *_: 0)
    assert contents(written(folder, tmp_path / "again")) == whole


def experts(transposed: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The same experts one by one, and all of a layer in one tensor."""
    single: dict[str, Tensor] = {}
    ups, downs = [], []
    for index in range(EXPERTS):
        parts = {}
        for of, shape in {"gate": (WIDTH, HIDDEN), "up": (WIDTH, HIDDEN), "down": (HIDDEN, WIDTH)}.items():
            tensor = weights(f"{index} {of}", *shape)
            single[f"{LAYER}.mlp.experts.{index}.{of}_proj.weight"] = tensor
            parts[of] = np.frombuffer(tensor[2], np.uint16).reshape(shape)
        ups.append(np.concatenate([parts["gate"], parts["up"]]))
        downs.append(parts["down"])
    fused = {}
    for name, stacked in {"gate_up_proj": np.stack(ups), "down_proj": np.stack(downs)}.items():
        array = np.ascontiguousarray(stacked.transpose(0, 2, 1)) if transposed else stacked
        fused[f"{LAYER}.mlp.experts.{name}"] = ("BF16", array.shape, array.tobytes())
    return single, fused


@pytest.mark.parametrize(("family", "transposed"), [("qwen3_5_moe", False), ("qwen3_vl_moe", True)])
def test_experts_that_lie_in_one_tensor_come_out_one_by_one(tmp_path: Path, family: str, transposed: bool) -> None:
    single, fused = experts(transposed)
    one = contents(written(write_checkpoint(tmp_path / "a", single, model_type=family), tmp_path / "one"))
    assert len(one) == 2 * 3 * EXPERTS
    assert contents(written(write_checkpoint(tmp_path / "b", fused, model_type=family), tmp_path / "all")) == one


def test_nan_in_a_weight_names_it(tmp_path: Path) -> None:
    kind, shape, data = toy()[UP]
    broken = {**toy(), UP: (kind, shape, data[:-2] + struct.pack("<H", 0x7FC0))}
    with pytest.raises(DamagedShard, match=r"mlp\.up_proj\.weight holds NaN or infinity"):
        written(write_checkpoint(tmp_path / "m", broken), tmp_path / "out")


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stream.os, "pwrite", full)
    with pytest.raises(
        DiskError, match=r"cannot write .*: No space left on device; then run the same command again"
    ):
        written(write_checkpoint(tmp_path / "m", toy()), tmp_path / "out")
