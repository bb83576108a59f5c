"""llm-compressor in its own process and environment, for recipes that need it: finding it, running it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from quantize.errors import ToolFailed, UsageError
from quantize.plan import Plan
from quantize.quantization_config import quantized_targets


def find_python(environ: Mapping[str, str]) -> Path:
    """The interpreter that has llm-compressor: FOVEA_QUANTIZE_PYTHON, this one, or the project's environment."""
    if named := environ.get("FOVEA_QUANTIZE_PYTHON"):
        return Path(named)
    here = Path(sys.executable)
    beside = here.parent.parent.parent / "quantize" / "bin" / "python"
    script = "import importlib.util, sys; sys.exit(importlib.util.find_spec('llmcompressor') is None)"
    for candidate in (here, beside):
        if candidate.exists() and subprocess.run([candidate, "-c", script], check=False).returncode == 0:
            return candidate
    raise UsageError(
        "llm-compressor is not installed: run 'make setup' in the repository, install fovea[calibrate] here, or "
        "name an interpreter that has it in FOVEA_QUANTIZE_PYTHON"
    )


def run_compressor(python: Path, plan: Plan, out: Path, environ: Mapping[str, str]) -> None:
    """Write weights and a config to `out`. Raises ToolFailed."""
    job = {"scheme": plan.recipe.scheme, "targets": quantized_targets(plan), "ignore": plan.ignore}
    command = [str(python), "-m", "quantize.compress", str(plan.source), str(out), json.dumps(job)]
    code = subprocess.run(command, env=tool_environment(environ), check=False).returncode
    if code:
        raise ToolFailed(f"llm-compressor ended with code {code}: its output above says why")


def tool_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """For a program of ours in the environment that has torch: offline, and finding our modules."""
    quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", **environ}
    root = str(Path(__file__).parent.parent)
    quiet["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environ.get("PYTHONPATH")]))
    return quiet
