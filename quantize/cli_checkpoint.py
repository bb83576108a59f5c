"""`fovea-quantize plan, run, verify`: from a checkpoint to its quantized child."""

import os
import time
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from quantize.architecture import find_architecture
from quantize.checkpoint import check_source, read_config
from quantize.cli_process import one_line_errors, say
from quantize.errors import PlanViolated
from quantize.manifest import read_report
from quantize.plan import Plan, make_plan
from quantize.recipe import Recipe, bundled_names, read_recipe, recorded_recipe

Source = Annotated[Path, typer.Argument(help="Checkpoint folder to read (BF16 or FP16 safetensors).")]
RecipeOption = Annotated[str, typer.Option(help=f"A bundled recipe ({', '.join(bundled_names())}) or a YAML file.")]
Map = Annotated[Path | None, typer.Option(help="Architecture map of your own (YAML) [default: by model_type]")]


def plan(
    source: Source,
    recipe: RecipeOption = "fp8-dynamic",
    architecture: Map = None,
    tensors: Annotated[bool, typer.Option("--tensors", help="Also every tensor's fate and its reason.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON, tensors included.")] = False,
) -> None:
    """Say what a run would do, and how many bytes it would leave: from headers and configs alone.

    Exit codes: 0 done, 2 usage, 3 recipe or map, 4 unsupported checkpoint, 9 unknown architecture, 10 quantized
    already, 11 wrong dtype, 12 damaged weight file, 13 damaged index.
    """
    from quantize import show_plan

    with one_line_errors():
        made = _plan(source, read_recipe(recipe), architecture)
        say(show_plan.make_json(made) if as_json else show_plan.make_table(made, tensors))


def run(
    source: Source,
    out: Annotated[Path, typer.Argument(help="Folder to write; it must not exist yet.")],
    recipe: RecipeOption = "fp8-dynamic",
    architecture: Map = None,
    engine: Annotated[str, typer.Option(help="stream (a few rows at a time), or llmcompressor.")] = "stream",
    prove: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Prove the result before it is put in place.")
    ] = True,
    workers: Annotated[int, typer.Option(min=0, max=64, help="Threads [default: one a CPU, at most 8]")] = 0,
) -> None:
    """Quantize a checkpoint, prove the result, and put it in place whole or not at all.

    A run that was stopped goes on where it was: the same command again.

    Exit codes: those of plan, and 5 output not as promised, 7 llm-compressor failed, 14 disk full or read-only,
    15 another run is writing there.
    """
    from quantize import run as runs
    from quantize import show_plan

    if engine not in get_args(runs.Engine):
        raise typer.BadParameter(f"there are {', '.join(get_args(runs.Engine))}", param_hint="--engine")
    began = time.monotonic()
    with one_line_errors():
        made = _plan(source, read_recipe(recipe), architecture)
        say(show_plan.make_table(made, tensors=False))
        threads = workers or min(8, os.cpu_count() or 1)
        findings = runs.run_plan(made, out, cast(runs.Engine, engine), threads, prove, os.environ, say)
    for line in show_plan.describe_findings(made, findings):
        say(line)
    say(f"{out} written in {time.monotonic() - began:.0f} s")


def verify(
    source: Source,
    out: Annotated[Path, typer.Argument(help="Folder that `run` wrote.")],
    recipe: Annotated[str | None, typer.Option(help="[default: what the folder's report names]")] = None,
    architecture: Map = None,
) -> None:
    """Prove from the files alone that a checkpoint is what its recipe promises of its source.

    Kept tensors and other files byte for byte, codes and scales against the published arithmetic, every file
    against SHA256SUMS.

    Exit codes: 0 proved, 5 something differs (one line each), and those of plan.
    """
    from quantize import show_plan
    from quantize import verify as proofs

    with one_line_errors():
        made = _plan(
            source, read_recipe(recipe) if recipe else recorded_recipe(read_report(out), out), architecture
        )
        findings = proofs.verify_weights(made, out)
        found = [*findings.violations, *proofs.verify_files(made, out)]
        if found:
            raise PlanViolated(
                f"{out} is not what {made.recipe.name} promises of {source}:\n  " + "\n  ".join(found)
            )
        for line in show_plan.describe_findings(made, findings):
            say(line)


def _plan(source: Path, recipe: Recipe, architecture: Path | None) -> Plan:
    check_source(source)
    return make_plan(source, recipe, find_architecture(read_config(source), architecture))
