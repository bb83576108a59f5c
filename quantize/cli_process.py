"""What every command does at the edge of its process: say things, and end with an error's own code."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from quantize.errors import QuantizeError


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends the program with the error's own exit code and its one sentence."""
    try:
        yield
    except QuantizeError as problem:
        typer.echo(f"fovea-quantize: {problem}", err=True)
        sys.exit(problem.exit_code)


def say(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()
