"""`fovea-loadtest`: the command line of the load test."""

import asyncio
import os
import re
import shutil
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from loadtest.cli_compare import add_commands, read_assertions, refuse, say_error
from loadtest.cli_trace import trace_command
from loadtest.driving.by_aiperf import Aiperf, AiperfError
from loadtest.driving.caller import Target
from loadtest.driving.gallery import Gallery, drawn_gallery, gallery_of_files
from loadtest.driving.pages import Pages
from loadtest.driving.run import Wanted, drive_run
from loadtest.driving.served import TargetError, check_pages, find_model
from loadtest.progress import Bars
from loadtest.records import REQUESTS_FILE, RUN_FILE, RunInfo, read_run
from loadtest.reporting.publishing import publish
from loadtest.scenario.document import Scenario, ScenarioError
from loadtest.scenario.reading import bundled_names, read_scenario

URL_WITH_USER = re.compile(r"://[^/?#]*@")
KEY, METRICS_KEY = "OPENAI_API_KEY", "FOVEA_METRICS_KEY"
INTERRUPTED = 130  # exit code, as of what Ctrl-C ends
OUT = Path("build/loadtest")
Driver = Literal["fovea", "aiperf"]

app = typer.Typer(
    help="Load any OpenAI-compatible endpoint with questions about pictures, and report what came back.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
add_commands(app)
app.command("trace")(trace_command)


@app.command()
def run(
    scenario: Annotated[
        str, typer.Argument(help="A bundled scenario (`fovea-loadtest scenarios`) or a YAML file.")
    ],
    url: Annotated[str, typer.Option(help="Base URL, with /v1.")],
    model: Annotated[str, typer.Option(help="Model to ask; the first that the server lists.")] = "",
    metrics: Annotated[list[str] | None, typer.Option(help="A /metrics page to watch; repeat for several.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same requests: caches know them from the last run.")] = 1,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="KEY.KEY=VALUE over the scenario; repeat for several.")
    ] = None,
    picture: Annotated[
        list[Path] | None, typer.Option(help="Show this file in place of drawn pictures; repeat for several.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for records and report; default: build/loadtest/.")
    ] = None,
    assertions: Annotated[list[str] | None, typer.Option("--assert", help="Such as 'ttft_p95_ms<500'.")] = None,
    driver: Annotated[
        Driver, typer.Option(help="Who sends it; aiperf (0.13, on the PATH) can do a part.")
    ] = "fovea",
    tokenizer: Annotated[Path, typer.Option(help="A folder with a tokenizer; aiperf insists on one.")] = Path("."),
    timeout_s: Annotated[float, typer.Option(min=1, help="For one request.")] = 300,
) -> None:
    """Sends what SCENARIO says and reports what came back, as a table, JSON and a page.

    The API key is read from OPENAI_API_KEY, those of tenants from the variables that the scenario names, that of a
    gateway which protects its metrics from FOVEA_METRICS_KEY.
    Exit codes: 0, 1 an assertion does not hold or nothing was answered, 2 usage, 130 interrupted (what has ended
    is reported all the same).
    """
    held = read_assertions(assertions or [])
    try:
        wanted_scenario, text = read_scenario(scenario, settings or [])
        folder = free_folder(out or OUT / f"{wanted_scenario.name}-{datetime.now(UTC):%Y%m%dT%H%M%S}")
        target = make_target(wanted_scenario, url, model, timeout_s)
        aiperf = find_aiperf(tokenizer) if driver == "aiperf" else None
        pages = Pages(tuple(metrics or ()), read_key(METRICS_KEY), url)
        asyncio.run(check_pages(pages))
        wanted = Wanted(wanted_scenario, text, seed, target, pages, folder, aiperf)
        driven = drive(wanted, make_gallery(wanted_scenario, picture or []))
        finished = read_run(folder)
        code = publish(folder, finished, held, typer.echo)
    except (ScenarioError, TargetError, AiperfError) as problem:
        refuse(str(problem))
    except OSError as problem:
        refuse(f"{folder} cannot be written: {problem.strerror}; name another folder with --out")
    if driven.interrupted:
        sys.exit(INTERRUPTED)
    sys.exit(code if any(request.answered for request in finished.requests) else 1)


@app.command()
def scenarios() -> None:
    """Lists the bundled scenarios."""
    for name in bundled_names():
        typer.echo(f"{name:<22} {read_scenario(name)[0].about}")


def make_target(scenario: Scenario, url: str, model: str, timeout_s: float) -> Target:
    """Raises ScenarioError where a tenant's key is missing, TargetError where no model is found."""
    keys = {tenant.name: key_from(tenant.key_env) for tenant in scenario.tenants}
    if any(keys.values()) and URL_WITH_USER.search(url):
        raise TargetError("--url has a user of its own, which cannot go with an API key: say one of the two")
    fields = {"ignore_eos": True} if scenario.text.exact_answers else {}
    found = model or asyncio.run(find_model(url, keys[scenario.tenants[0].name]))
    return Target(url, found, keys, timeout_s, fields)


def key_from(variable: str | None) -> str:
    """Raises ScenarioError."""
    if variable and variable not in os.environ:
        raise ScenarioError(f"the scenario reads a tenant's API key from {variable}, which is not set")
    return read_key(variable or KEY)


def read_key(variable: str) -> str:
    """Raises ScenarioError."""
    key = os.environ.get(variable, "")
    if not (key.isascii() and key.isprintable()):
        raise ScenarioError(f"the API key in {variable} has characters that no header can hold")
    return key


def find_aiperf(tokenizer: Path) -> Aiperf:
    """Raises AiperfError where there is none."""
    if not (program := shutil.which("aiperf")):
        raise AiperfError("there is no aiperf on the PATH: install aiperf==0.13.0 into an environment of its own")
    return Aiperf(Path(program), tokenizer.absolute())


def make_gallery(scenario: Scenario, files: list[Path]) -> Gallery:
    """Exits 2 where a file is missing: before anything is sent."""
    for path in files:
        if not (path.is_file() and os.access(path, os.R_OK)):
            refuse(f"{path} is not a file that can be read")
    return gallery_of_files(files) if files else drawn_gallery(scenario.pictures)


def free_folder(folder: Path) -> Path:
    """Exits 2 where there is a run: no run is written over another."""
    if any((folder / name).exists() for name in (RUN_FILE, REQUESTS_FILE)):
        refuse(f"{folder} holds a run already: name another folder with --out")
    return folder


def drive(wanted: Wanted, gallery: Gallery) -> RunInfo:
    """Exits where it is interrupted before anything was sent. Raises what `drive_run` does."""
    try:
        with Bars() as bars:
            return asyncio.run(drive_until_told(wanted, gallery, bars))
    except (KeyboardInterrupt, asyncio.CancelledError):
        say_error("fovea-loadtest: interrupted before anything was sent")
        sys.exit(INTERRUPTED)
    finally:
        gallery.close()


async def drive_until_told(wanted: Wanted, gallery: Gallery, bars: Bars) -> RunInfo:
    """SIGTERM, by which CI and containers end things, is as good as Ctrl-C."""
    running = asyncio.current_task()
    assert running is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    return await drive_run(wanted, gallery, bars)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
