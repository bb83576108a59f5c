"""`fovea-quantize`: the command line of the offline stage."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from quantize.errors import QuantizeError
from quantize.publish import quantize_checkpoint
from quantize.recipe import bundled_names, read_recipe
from quantize.verify import Summary

app = typer.Typer(
    help="Make and prove FP8 checkpoints of vision-language models. The vision tower stays as it is.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def offline() -> None:
    """Keeps `run` a named command while it is the only one."""


@app.command()
def run(
    source: Annotated[Path, typer.Argument(help="Checkpoint folder to read (BF16 or FP16 safetensors).")],
    out: Annotated[Path, typer.Argument(help="Folder to write; it must not exist yet.")],
    recipe: Annotated[
        str, typer.Option(help=f"A bundled recipe ({', '.join(bundled_names())}) or a YAML file.")
    ] = "fp8-dynamic",
) -> None:
    """Quantize a checkpoint with llm-compressor, prove the result, and put it in place whole or not at all.

    Exit codes: 0 done, 2 usage, 3 recipe, 4 unsupported checkpoint, 5 output not as promised, 7 llm-compressor
    failed.
    """
    began = time.monotonic()
    try:
        summary = quantize_checkpoint(source, out, read_recipe(recipe), recipe, os.environ, say)
    except QuantizeError as problem:
        typer.echo(f"fovea-quantize: {problem}", err=True)
        sys.exit(problem.exit_code)
    for line in describe(summary):
        say(line)
    say(f"{out} written in {time.monotonic() - began:.0f} s")


def describe(summary: Summary) -> list[str]:
    saved = 1 - summary.bytes_after / summary.bytes_before
    return [
        f"tensors: {summary.quantized} quantized to FP8, {summary.kept} kept bit for bit",
        f"weights: {summary.bytes_before:,} -> {summary.bytes_after:,} bytes ({saved:.1%} saved)",
    ]


def say(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()


def main() -> None:
    app()


if __name__ == "__main__":
    main()
