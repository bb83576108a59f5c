import subprocess
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.conftest import ROOT, Stack
from tests.registry import find_registry, serving_registry

QUANTIZE_PYTHON = ROOT / ".venv" / "quantize" / "bin" / "python"


@pytest.fixture(scope="module")
def client(fp8: Stack) -> Iterator[openai.OpenAI]:
    """The OpenAI SDK, talking to the FP8 checkpoint on real vLLM."""
    with openai.OpenAI(base_url=f"{fp8.url}/v1", api_key="none", max_retries=0, timeout=120) as made:
        yield made


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toys")
    subprocess.run([QUANTIZE_PYTHON, "-m", "tests.e2e.make_toys", folder], check=True, cwd=ROOT)
    return folder


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """Host and port of a real one, with nothing in it."""
    program = find_registry()
    if program is None:
        pytest.skip("SKIPPED: no docker-registry: make setup, or apt-get install docker-registry")
    with serving_registry(program, tmp_path) as host:
        yield host
