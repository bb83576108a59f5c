from collections.abc import Iterator
from pathlib import Path

import pytest

from server.engine.encoder_cache.arena import Arena
from server.engine.encoder_cache.arena_view import PAGE_BYTES
from tests.unit.engine.encoder_cache.looking import Clock


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    arena = Arena.create(8 * PAGE_BYTES, "engine", [tmp_path])
    yield arena
    arena.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()
