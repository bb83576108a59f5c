"""llm-compressor in its own process and environment, for recipes that need it: finding it, running it."""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantize.architecture import Part
from quantize.errors import ToolFailed, UsageError
from quantize.other_environments import find_interpreter, tool_environment
from quantize.plan import Plan
from quantize.quantization_config import make_quantization_config
from quantize.recipe import REGEX

ELSEWHERE: tuple[Part, ...] = ("vision", "connector", "mtp")
NUMBERED = re.compile(r"\blayers\.(?P<layer>\d+)\.(?P<rest>.*)$")


def find_python(environ: Mapping[str, str]) -> Path:
    """The interpreter that has llm-compressor. Raises UsageError."""
    found = find_interpreter("llmcompressor", "FOVEA_QUANTIZE_PYTHON", "quantize", environ)
    if found is None:
        raise UsageError(
            "llm-compressor is not installed: run 'make setup' in the repository, install fovea[calibrate] here, "
            "or name an interpreter that has it in FOVEA_QUANTIZE_PYTHON"
        )
    return found


def run_compressor(python: Path, plan: Plan, samples: Path | None, out: Path, environ: Mapping[str, str]) -> None:
    """Write weights and a config to `out`; `samples` as `quantize.calibration` writes them. Raises ToolFailed."""
    job = json.dumps(make_job(plan, samples))
    command = [str(python), "-m", "quantize.compress", str(plan.source), str(out), job]
    code = subprocess.run(command, env=tool_environment(environ), check=False).returncode
    if code:
        raise ToolFailed(f"llm-compressor ended with code {code}: its output above says why")


def make_job(plan: Plan, samples: Path | None) -> dict[str, Any]:
    """What `quantize.compress` is to do."""
    (group,) = make_quantization_config(plan)["config_groups"].values()
    return {
        "method": plan.recipe.method,
        "smoothing": plan.recipe.smoothing,
        "targets": group["targets"],
        "group": {key: group[key] for key in ("format", "weights", "input_activations", "output_activations")},
        "ignore": plan.ignore,
        "rescaled": name_rescaled(plan),
        "samples": str(samples) if samples else None,
    }


def name_rescaled(plan: Plan) -> list[tuple[str, list[str]]]:
    """Every kind of norm that is rescaled with its readers, as regexes of modules: layers by their numbers, for
    transformers calls what is before these otherwise than some files do."""
    elsewhere = "".join(f"(?!{pattern})" for part in ELSEWHERE for pattern in plan.architecture.patterns(part))
    named = []
    for each in plan.architecture.norms:
        found = [NUMBERED.search(fate.name) for fate in plan.fates if fate.readers]
        layers = [match["layer"] for match in found if match and match["rest"] == f"{each.norm}.weight"]
        if layers:
            stem = rf"{REGEX}{elsewhere}.*layers\.({'|'.join(layers)})\."
            named.append(
                (f"{stem}{re.escape(each.norm)}$", [f"{stem}{re.escape(reader)}$" for reader in each.feeds])
            )
    return named
