"""Two engines for all tests of this folder: each start of one takes half a minute."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import DEMO_MODEL
from tests.e2e.embedding_cache.engine import Engine


@pytest.fixture(scope="package")
def engines(
    quantized: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Engine, Engine]]:
    """The BF16 checkpoint and its FP8 child, each with a folder of its own, and one that they share."""
    folder = tmp_path_factory.mktemp("embeddings")
    with ExitStack() as stack:
        made = [
            Engine(name, checkpoint, folder / name, folder / "shared", stack)
            for name, checkpoint in (("bf16", DEMO_MODEL), ("fp8", quantized[0]))
        ]
        for each in made:
            each.start()
        for each in made:
            each.wait()
        yield made[0], made[1]
