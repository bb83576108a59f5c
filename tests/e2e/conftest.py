from collections.abc import Iterator

import openai
import pytest

from tests.conftest import Stack


@pytest.fixture(scope="module")
def client(fp8: Stack) -> Iterator[openai.OpenAI]:
    """The OpenAI SDK, talking to the FP8 checkpoint on real vLLM."""
    with openai.OpenAI(base_url=f"{fp8.url}/v1", api_key="none", max_retries=0, timeout=120) as made:
        yield made
