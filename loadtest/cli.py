"""`fovea-loadtest`: the command line of the load test."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from tqdm import tqdm

from loadtest.drive import Load, drive
from loadtest.report import as_table, summarize

app = typer.Typer(
    help="Load any OpenAI-compatible endpoint with questions about pictures, and report what came back.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def load_test() -> None:
    """Keeps `run` a named command while it is the only one."""


@app.command()
def run(
    url: Annotated[str, typer.Option(help="Base URL, with /v1.")],
    model: Annotated[str, typer.Option(help="Model to ask.")],
    picture: Annotated[list[Path] | None, typer.Option(help="Picture to ask about; repeat for several.")] = None,
    question: Annotated[str, typer.Option(help="What to ask.")] = "What is in this picture?",
    requests: Annotated[int, typer.Option(min=1, help="Requests in all.")] = 50,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests under way at once.")] = 4,
    max_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of an answer.")] = 32,
    api_key: Annotated[str, typer.Option(envvar="OPENAI_API_KEY", help="API key.")] = "none",
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the summary here as well.")] = None,
) -> None:
    """Closed loop: each of CONCURRENCY callers sends its next request when the last is answered.

    Exit codes: 0 all answered, 1 some were not, 2 usage.
    """
    pictures = tuple(picture or ())
    for path in pictures:
        if not path.is_file():
            typer.echo(f"fovea-loadtest: {path} is not a file", err=True)
            sys.exit(2)
    load = Load(url, model, api_key, pictures, question, max_tokens, requests, concurrency)
    began = time.perf_counter()
    with tqdm(total=requests, unit="request") as bar:
        outcomes = asyncio.run(drive(load, lambda _: advance(bar)))
    summary = summarize(outcomes, time.perf_counter() - began)
    typer.echo(as_table(summary))
    if json_out:
        json_out.write_text(json.dumps(summary, indent=2) + "\n")
    sys.exit(1 if summary["errors"] else 0)


def advance(bar: "tqdm[NoReturn]") -> None:
    bar.update()


def main() -> None:
    app()


if __name__ == "__main__":
    main()
