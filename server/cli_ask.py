"""`fovea ask`: one question about one picture, and the answer. `helm test` runs it against a release."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image, UnidentifiedImageError

from server.trial import QUESTION, NoAnswer, Trial, run_trial

MOST_BYTES = 20 * 1024**2


def ask(
    picture: Annotated[
        Path | None, typer.Argument(metavar="[PICTURE]", help="A JPEG, PNG, ...; none: a red square.")
    ] = None,
    question: Annotated[str, typer.Option(help="What to ask about it.")] = QUESTION,
    url: Annotated[str, typer.Option(help="A gateway, or an engine.")] = "http://127.0.0.1:8080",
    model: Annotated[str, typer.Option(help="Which model; the first that is served by default.")] = "",
    api_key: Annotated[str, typer.Option(envvar="FOVEA_API_KEY", help="Where the gateway asks for a key.")] = "",
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait until it answers at all.")] = 0,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that an answer may take.")] = 120,
) -> None:
    """Ask about a picture, as any caller would. Exit code 1, with one sentence, where there is no answer."""
    try:
        data = read_picture(picture) if picture else b""
        answer = run_trial(Trial(url, model, api_key, question, data, wait, timeout))
    except (NoAnswer, ValueError) as problem:
        typer.echo(f"fovea: {problem}", err=True)
        sys.exit(1 if isinstance(problem, NoAnswer) else 2)
    typer.echo(answer.text)
    by = f" at {answer.engine}" if answer.engine else ""
    typer.echo(f"{answer.model}{by}: {answer.prompt_tokens} prompt tokens, {answer.seconds:.1f} s", err=True)


def read_picture(path: Path) -> bytes:
    """Raises ValueError with a sentence."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        with Image.open(path) as picture:
            picture.verify()
    except UnidentifiedImageError:
        raise ValueError(f"{path} is not a picture") from None
    except OSError as problem:
        raise ValueError(f"{path} cannot be read: {problem.strerror or type(problem).__name__}") from None
    if len(data) > MOST_BYTES:
        raise ValueError(f"{path} is larger than {MOST_BYTES // 1024**2} MiB")
    return data
