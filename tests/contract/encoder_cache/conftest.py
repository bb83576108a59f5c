from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.valkey import Valkey, find_valkey


@pytest.fixture(scope="session")
def valkey_program() -> str:
    found = find_valkey()
    if found is None:
        pytest.skip("SKIPPED: no Valkey: make setup, or put valkey-server on the PATH")
    return found


@pytest.fixture
def valkey(valkey_program: str, tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(valkey_program, tmp_path)
    server.start()
    try:
        yield server
    finally:
        server.kill()
