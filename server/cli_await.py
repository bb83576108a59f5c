"""`fovea await-checkpoint`: waits until a checkpoint may be served. An engine's pod runs it before the engine."""

import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from server.engine.cache_options import parse_duration
from server.engine.checkpoint_policy import Policy, Verdict, parse_policy, settled

POLL_S, LEAST_POLL_S = 5.0, 0.1
REFUSED, TOO_LATE, TOLD_TO_STOP = 1, 3, 128 + signal.SIGTERM


def await_checkpoint(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The checkpoint's folder; it may come yet.")],
    require: Annotated[
        Policy,
        typer.Option(
            metavar="verified|gated|trial|none", parser=parse_policy, help="What its fovea-report.json must say."
        ),
    ],
    timeout: Annotated[
        float | None,
        typer.Option(metavar="TIME", parser=parse_duration, help="Longest wait, like 90s or 2h (for ever)."),
    ] = None,
    poll: Annotated[
        float | None, typer.Option(metavar="TIME", parser=parse_duration, help="Time between two looks (5s).")
    ] = None,
) -> None:
    """Wait until a checkpoint is whole and its report allows to serve it; say so, and whatever it waits for, once.

    verified: the proof of its bytes belongs to these files. gated: the sight gate is green.
    trial: verified, and the gate may ask again. none: it is whole.

    Exit codes: 0 serve it, 1 its report says no (at once), 2 usage, 3 not in time.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TOLD_TO_STOP))  # the first process of a container ignores it
    until = time.monotonic() + timeout if timeout is not None else float("inf")
    verdict = wait_for(folder, require, until, POLL_S if poll is None else max(poll, LEAST_POLL_S))
    match verdict.state:
        case "ready":
            say(f"ready: {verdict.sentence}")
        case "refused":
            typer.echo(f"fovea: {verdict.sentence}", err=True)
            sys.exit(REFUSED)
        case "waiting":
            typer.echo(f"fovea: waited long enough: {verdict.sentence}", err=True)
            sys.exit(TOO_LATE)


def wait_for(folder: Path, policy: Policy, until: float, poll_s: float) -> Verdict:
    """Until it is ready, or refused, or `until` (monotonic)."""
    told = ""
    while (verdict := settled(folder, policy, time.sleep)).state == "waiting":
        if verdict.sentence != told:
            told = verdict.sentence
            say(f"waiting: {told}")
        left = until - time.monotonic()
        if left <= 0:
            break
        time.sleep(min(poll_s, left))
    return verdict


def say(sentence: str) -> None:
    typer.echo(f"fovea await-checkpoint: {sentence}")
    sys.stdout.flush()
