"""Who has the sight of whom: a checkpoint and its quantized child, and none that sees otherwise.

`tests/e2e/embedding_cache` shows on real vLLM that they share embeddings, and that the other one finds nothing.
"""

from pathlib import Path

import pytest

from server.engine.encoder_cache.fingerprint import vision_fingerprint
from tests.conftest import DEMO_MODEL
from tests.e2e.embedding_cache.flipped import flip_one_bit


@pytest.fixture(scope="module")
def checkpoints(quantized: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    flipped = flip_one_bit(tmp_path_factory.mktemp("flipped") / "model")
    return {"bf16": DEMO_MODEL, "fp8": quantized[0], "flipped": flipped}


def test_as_many_tensors_are_hashed_as_the_proof_finds_bit_identical(
    checkpoints: dict[str, Path], quantized: tuple[Path, str]
) -> None:
    parts = {name: vision_fingerprint(folder, "bfloat16", {}).parts for name, folder in checkpoints.items()}
    assert parts["bf16"] == parts["fp8"]
    assert {name for name, part in parts["bf16"].items() if part != parts["flipped"][name]} == {"weights"}
    assert f"vision tower bit-identical: {parts['bf16']['tensors']} tensors" in quantized[1]
