"""The arithmetic of `fit` against what vLLM says of itself when it starts."""

import re
from dataclasses import replace

import pytest

from quantize.checkpoint import read_config
from quantize.model_shape import read_shape
from tests.conftest import DEMO_MODEL, Stack

CACHE_BYTES = 1024**3  # what `fovea engine` gives vLLM's CPU build
CONCURRENCY = re.compile(r"Maximum concurrency for ([\d,]+) tokens per request: ([\d.]+)x")


def test_vllm_finds_room_for_as_many_conversations(bf16: Stack) -> None:
    said = CONCURRENCY.search(bf16.process.output)
    assert said is not None
    context, most = int(said[1].replace(",", "")), float(said[2])
    shape = replace(read_shape(read_config(DEMO_MODEL)), block_step=128)
    assert f"Setting attention block size to {shape.block_tokens(2)} tokens" in bf16.process.output
    each = shape.kv_bytes(context, 2, 0) + shape.state_bytes(2)
    assert CACHE_BYTES / each == pytest.approx(most, rel=0.001)
