from pathlib import Path

from server.engine.vllm_build import find_python


def test_a_named_interpreter_is_taken_at_its_word() -> None:
    assert find_python({"FOVEA_ENGINE_PYTHON": "/opt/python"}) == Path("/opt/python")
