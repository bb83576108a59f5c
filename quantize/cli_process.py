"""What every command does at the edge of its process: say things, and end with an error's own code."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer

from quantize.errors import QuantizeError

INTERRUPTED, TERMINATED = 130, 143  # as shells have it


class ToldToStop(BaseException):
    """By SIGTERM: whatever is under way is left as after Ctrl-C."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends the program with the error's own exit code and its one sentence; Ctrl-C and SIGTERM are some, too."""
    before = hear_sigterm()
    try:
        yield
    except QuantizeError as problem:
        typer.echo(f"fovea-quantize: {problem}", err=True)
        sys.exit(problem.exit_code)
    except (KeyboardInterrupt, ToldToStop) as how:
        typer.echo("fovea-quantize: stopped: the same command goes on where it was", err=True)
        sys.exit(INTERRUPTED if isinstance(how, KeyboardInterrupt) else TERMINATED)
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def hear_sigterm() -> Any:
    """The handler that was there before: the first process of a container has none, and would not be stopped."""

    def stop(*_: Any) -> NoReturn:
        raise ToldToStop

    if threading.current_thread() is not threading.main_thread():
        return None
    return signal.signal(signal.SIGTERM, stop)


def say(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()
