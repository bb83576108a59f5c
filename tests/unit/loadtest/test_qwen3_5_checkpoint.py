import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest

from loadtest import qwen3_5_checkpoint
from loadtest.gpu.amounts import TOY
from loadtest.qwen3_5_checkpoint import make_config, write_checkpoint
from loadtest.qwen3_5_shapes import QWEN3_5_9B, model_shapes, qwen3_5_9b


def read_header(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header: dict[str, Any] = json.loads(stream.read(length))
    del header["__metadata__"]
    return header


def test_every_file_of_a_checkpoint_holds_tensors_even_where_one_tensor_is_larger_than_a_file_should_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qwen3_5_checkpoint, "SHARD_BYTES", 200_000)  # less than lm_head, which comes first
    folder = tmp_path / "toy"
    total = write_checkpoint(folder, TOY)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.safetensors")):
        header = read_header(path)
        assert header, path.name
        found |= dict.fromkeys(header, path.name)
        last = max(entry["data_offsets"][1] for entry in header.values())
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
        assert path.stat().st_size == 8 + length + last
    assert found == index["weight_map"]
    assert set(found) == set(model_shapes(TOY))
    assert total == 2 * sum(math.prod(shape) for shape in model_shapes(TOY).values())
    assert total == index["metadata"]["total_size"]


def test_the_9b_model_has_the_bytes_of_the_published_one() -> None:
    nbytes = 2 * sum(math.prod(shape) for shape in qwen3_5_9b().values())
    assert round(nbytes / 1e9, 2) == 18.82


def test_shapes_follow_from_sizes_as_the_config_says() -> None:
    text = make_config(QWEN3_5_9B)["text_config"]
    shapes = model_shapes(QWEN3_5_9B)
    kinds = text["layer_types"]
    assert [kinds.count(kind) for kind in ("linear_attention", "full_attention")] == [24, 8]
    for layer, kind in enumerate(kinds):
        attending = f"model.language_model.layers.{layer}.self_attn.q_proj.weight" in shapes
        assert attending == (kind == "full_attention")
    gated = 2 * text["num_attention_heads"] * text["head_dim"]
    assert shapes["model.language_model.layers.3.self_attn.q_proj.weight"] == (gated, text["hidden_size"])
