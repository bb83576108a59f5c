"""Public benchmarks (MMMU, ChartQA, DocVQA, OCRBench, ScreenSpot) by lmms-eval, where it and its data are.

It runs as its own program, once a side; its figures are put next to each other. Seen to work with lmms-eval 0.7.3.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from quantize.errors import ToolFailed, UsageError
from quantize.evaluate.endpoint import Endpoint

INTERPRETER = "FOVEA_LMMS_EVAL_PYTHON"
TASKS = {
    "mmmu": "mmmu_val",
    "chartqa": "chartqa",
    "docvqa": "docvqa_val",
    "ocrbench": "ocrbench",
    "screenspot": "screenspot_rec_test",
}


def task_names(tasks: list[str]) -> list[str]:
    """lmms-eval's names for ours; others are passed on as they are. Raises UsageError."""
    for task in tasks:
        if not task.replace("_", "").replace("-", "").isalnum():
            raise UsageError(f"'{task}' is not a task's name")
    return [TASKS.get(task.lower(), task) for task in tasks]


def find_lmms_eval(environ: Mapping[str, str]) -> str:
    """The interpreter that has lmms-eval. Raises UsageError."""
    python = environ.get(INTERPRETER, sys.executable)
    script = "import importlib.util, sys; sys.exit(importlib.util.find_spec('lmms_eval') is None)"
    try:
        found = subprocess.run([python, "-c", script], check=False).returncode == 0
    except OSError as problem:
        raise UsageError(f"{INTERPRETER}={python} cannot be run: {problem.strerror}") from problem
    if not found:
        raise UsageError(
            "--tasks needs lmms-eval and its data: make an environment with 'pip install lmms-eval', and name its "
            f"python in {INTERPRETER}"
        )
    return python


def run_tasks(
    ends: tuple[Endpoint, Endpoint],
    tasks: list[str],
    out: Path,
    limit: int | None,
    environ: Mapping[str, str],
    say: Callable[[str], None],
) -> dict[str, dict[str, dict[str, float]]]:
    """Figures by side, task and metric, also written to out/tasks.json. Raises UsageError and ToolFailed."""
    python, names = find_lmms_eval(environ), task_names(tasks)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for end in ends:
        folder = out / f"lmms-eval-{end.side}"
        say(f"lmms-eval asks the {end.side}: {', '.join(names)}")
        command = [python, *make_arguments(end, names, folder, limit)]
        code = subprocess.run(command, env={**environ, "OPENAI_API_KEY": end.key}, check=False).returncode
        if code:
            raise ToolFailed(f"lmms-eval ended with code {code}: its output above says why")
        figures[end.side] = read_figures(folder)
    (out / "tasks.json").write_text(json.dumps(figures, indent=2) + "\n")
    return figures


def make_arguments(end: Endpoint, tasks: list[str], folder: Path, limit: int | None) -> list[str]:
    """What follows the interpreter. The key goes by the environment, where no process list shows it."""
    if any(mark in end.url + end.model for mark in ",= "):
        raise UsageError(f"lmms-eval cannot be given '{end.url}' and '{end.model}': no commas, spaces or = signs")
    model = f"model_version={end.model},base_url={end.url}"
    arguments = ["-m", "lmms_eval", "--model", "async_openai", "--model_args", model, "--tasks", ",".join(tasks)]
    arguments += ["--batch_size", "1", "--output_path", str(folder), "--log_samples"]
    return arguments + (["--limit", str(limit)] if limit else [])


def read_figures(folder: Path) -> dict[str, dict[str, float]]:
    """The newest results file's numbers by task and metric. Raises ToolFailed."""
    files = sorted(folder.rglob("*results.json"), key=lambda path: path.stat().st_mtime)
    if not files:
        raise ToolFailed(f"lmms-eval wrote no results into {folder}")
    results: dict[str, dict[str, Any]] = json.loads(files[-1].read_text())["results"]
    return {
        task: {name.partition(",")[0]: value for name, value in metrics.items() if isinstance(value, int | float)}
        for task, metrics in results.items()
    }


def make_task_table(figures: dict[str, dict[str, dict[str, float]]]) -> str:
    lines = [f"{'task':24}{'metric':32}{'base':>10}{'candidate':>11}"]
    for task, metrics in figures["base"].items():
        for name, before in metrics.items():
            after = figures["candidate"].get(task, {}).get(name)
            lines.append(f"{task:24}{name:32}{before:10.4f}{'-' if after is None else f'{after:.4f}':>11}")
    return "\n".join(lines)
