"""Interpreters of other environments: what needs torch or vLLM runs there, in its own process."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from quantize.errors import UsageError

ROOT = Path(__file__).parent.parent


def find_interpreter(module: str, variable: str, environment: str, environ: Mapping[str, str]) -> Path | None:
    """One that has `module`: what `variable` names, this one, or the project's environment of that name.

    Raises UsageError where `variable` names nothing that can be run.
    """
    if named := environ.get(variable):
        if not os.access(named, os.X_OK):
            raise UsageError(f"{variable}={named}: no such interpreter")
        return Path(named)
    here = Path(sys.executable)
    beside = here.parent.parent.parent / environment / "bin" / "python"
    script = f"import importlib.util, sys; sys.exit(importlib.util.find_spec('{module}') is None)"
    for candidate in (here, beside):
        if candidate.exists() and subprocess.run([candidate, "-c", script], check=False).returncode == 0:
            return candidate
    return None


def tool_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """For a program of ours in another environment: offline, and finding our modules."""
    quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", **environ}
    quiet["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environ.get("PYTHONPATH")]))
    return quiet
