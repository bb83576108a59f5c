"""What every command does at the edge of its process: say things, and end with an error's own code."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from quantize.errors import QuantizeError

INTERRUPTED = 130  # as shells have it


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends the program with the error's own exit code and its one sentence; Ctrl-C is one, too."""
    try:
        yield
    except QuantizeError as problem:
        typer.echo(f"fovea-quantize: {problem}", err=True)
        sys.exit(problem.exit_code)
    except KeyboardInterrupt:
        typer.echo("fovea-quantize: stopped: the same command goes on where it was", err=True)
        sys.exit(INTERRUPTED)


def say(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()
