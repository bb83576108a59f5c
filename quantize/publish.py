"""One run from a source checkpoint to a finished one: stage beside the target, prove, then rename into place."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from quantize.checkpoint import INDEX, check_source, read_config, read_tensors, sidecar_files, weight_files
from quantize.errors import PlanViolated, ToolFailed, UnsupportedCheckpoint, UsageError
from quantize.recipe import Recipe
from quantize.verify import Summary, differences, summarize

Report = Callable[[str], None]
SHOWN_VIOLATIONS = 10


def quantize_checkpoint(
    source: Path, out: Path, recipe: Recipe, recipe_argument: str, environ: Mapping[str, str], report: Report
) -> Summary:
    """Write the quantized checkpoint to `out`, whole or not at all. Raises QuantizeError."""
    check_source(source)
    check_target(source, out)
    python = find_python(environ)
    stage = out.with_name(f".{out.name}.{os.getpid()}.part")
    shutil.rmtree(stage, ignore_errors=True)
    try:
        report(f"quantizing {source} with {recipe.name}")
        run_compressor(python, source, stage, recipe_argument, environ)
        report("carrying over the other files")
        finish(source, stage, recipe)
        report("proving that kept tensors are untouched")
        before, after = read_tensors(source), read_tensors(stage)
        violations = list(differences(recipe, before, after))
        if violations:
            raise PlanViolated(describe_violations(violations))
        stage.rename(out)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return summarize(before, after)


def check_target(source: Path, out: Path) -> None:
    if out.exists():
        raise UsageError(f"{out} exists already: remove it or choose another folder")
    if source.resolve() in out.resolve().parents:
        raise UsageError(f"{out} lies inside the source: choose another folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise UsageError(f"cannot make {out.parent}: {problem.strerror}") from problem
    needed = sum(path.stat().st_size for path in weight_files(source))
    free = shutil.disk_usage(out.parent).free
    if free < needed:
        raise UsageError(f"{out.parent} has {free / 1e9:.1f} GB free, {needed / 1e9:.1f} may be needed")


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
        "llm-compressor is not installed: run 'make setup' in the repository, install fovea[quantize] here, or "
        "name an interpreter that has it in FOVEA_QUANTIZE_PYTHON"
    )


def run_compressor(
    python: Path, source: Path, stage: Path, recipe_argument: str, environ: Mapping[str, str]
) -> None:
    command = [str(python), "-m", "quantize.compress", str(source), str(stage), recipe_argument]
    code = subprocess.run(command, env=tool_environment(environ), check=False).returncode
    if code:
        raise ToolFailed(f"llm-compressor ended with code {code}: its output above says why")


def tool_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """For a program of ours in the environment that has torch: offline, and finding our modules."""
    quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", **environ}
    root = str(Path(__file__).parent.parent)
    quiet["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environ.get("PYTHONPATH")]))
    return quiet


def finish(source: Path, stage: Path, recipe: Recipe) -> None:
    """Sidecars byte for byte; the source's own config.json with `quantization_config` added and regex ignores."""
    keep = {path.name for path in weight_files(stage)} | {INDEX}
    quantization = read_config(stage).get("quantization_config")
    if not isinstance(quantization, dict):
        raise UnsupportedCheckpoint(f"nothing in {source} matches the recipe's targets")
    for path in stage.iterdir():
        if path.name not in keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    mode = weight_files(source)[0].stat().st_mode
    for path in weight_files(stage):
        path.chmod(mode)  # safetensors writes 0600, which another user's engine could not read
    for path in sidecar_files(source):
        copy = stage / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    config = read_config(source)
    # llm-compressor expands its regexes into module names, which vLLM's renaming then misses
    # (https://github.com/vllm-project/llm-compressor/issues/2641).
    config["quantization_config"] = {**quantization, "ignore": list(recipe.ignore)}
    (stage / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def describe_violations(violations: list[str]) -> str:
    shown = violations[:SHOWN_VIOLATIONS]
    if len(violations) > len(shown):
        shown.append(f"... and {len(violations) - len(shown)} more")
    return "the output is not what the recipe promises, so nothing was written:\n  " + "\n  ".join(shown)
