from pathlib import Path

import pytest

from quantize.checkpoint import read_tensors
from quantize.recipe import read_recipe
from quantize.verify import Summary, differences, summarize
from tests.unit.quantize.checkpoints import QUANTIZED, SOURCE, Tensor, write_checkpoint

MLP, VISION, NORM = "model.layers.0.mlp.weight", "model.visual.fc.weight", "model.norm.weight"


def found(tmp_path: Path, after: dict[str, Tensor]) -> list[str]:
    before = read_tensors(write_checkpoint(tmp_path / "before", SOURCE))
    return list(
        differences(read_recipe("fp8-dynamic"), before, read_tensors(write_checkpoint(tmp_path / "after", after)))
    )


def test_a_faithful_output_shows_no_difference(tmp_path: Path) -> None:
    assert found(tmp_path, QUANTIZED) == []


@pytest.mark.parametrize(
    ("name", "tensor", "sentence"),
    [
        (VISION, ("BF16", (2, 2), b"12345679"), "must be untouched, but changed"),
        (VISION, ("F8_E4M3", (2, 2), b"1234"), "must be untouched, but was quantized"),
        (NORM, ("BF16", (2,), b"nor\0"), "must be untouched, but changed"),
        (NORM, ("F32", (1,), b"norm"), "must be untouched, but changed"),
        (MLP, ("F8_E4M3", (4, 1), b"abcd"), "changed its shape"),
        ("extra.weight", ("BF16", (1,), b"xx"), "was not in the source"),
    ],
)
def test_each_way_to_differ_is_one_sentence(tmp_path: Path, name: str, tensor: Tensor, sentence: str) -> None:
    assert found(tmp_path, {**QUANTIZED, name: tensor}) == [f"{name}: {sentence}"]


def test_lost_tensors_and_scales_are_seen(tmp_path: Path) -> None:
    lost = {name: tensor for name, tensor in QUANTIZED.items() if name not in (NORM, f"{MLP}_scale")}
    assert found(tmp_path, lost) == [f"{MLP}: quantized, but has no scale", f"{NORM}: missing from the output"]


def test_the_summary_counts_tensors_and_bytes(tmp_path: Path) -> None:
    before = read_tensors(write_checkpoint(tmp_path / "before", SOURCE))
    after = read_tensors(write_checkpoint(tmp_path / "after", QUANTIZED))
    assert summarize(before, after) == Summary(bytes_before=20, bytes_after=20, quantized=1, kept=2)
