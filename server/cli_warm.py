"""`fovea warm`: has the embeddings of a catalogue's pictures computed before anybody asks about them."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from blake3 import blake3

from server.admission.keys import ANONYMOUS
from server.domain import Tenant
from server.errors import ConfigError
from server.images.addresses import Network
from server.images.inspect import enable_formats
from server.memory import ByteBudget
from server.metrics import Metrics
from server.settings import Settings, read_settings
from server.warm.journal import Journal, JournalError, journal_path
from server.warm.pictures import Picture, find_pictures
from server.warm.preparing import ForEngine, ForGateway, Preparing
from server.warm.progress import progress_of
from server.warm.report import Report
from server.warm.run import Pace, Run
from server.warm.target import Target, TargetError
from server.wiring.images import make_images
from server.wiring.prices import make_prices, pixel_rule


def warm(
    pictures: Annotated[
        list[str], typer.Argument(metavar="PATH|URL|JSONL...", help="Folders, pictures, URLs, JSONL.")
    ],
    engine: Annotated[str, typer.Option(metavar="URL", help="An engine, or a gateway in front of several.")],
    api_key: Annotated[
        str, typer.Option(envvar="FOVEA_API_KEY", help="A gateway's key: whose pictures these are.")
    ] = "",
    model: Annotated[str, typer.Option(help="The model to ask, where several are served.")] = "",
    settings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of an engine: the settings of the gateways in front of it.")
    ] = None,
    preprocessor: Annotated[
        Path | None, typer.Option(help="Of an engine: the model's folder, as those gateways are told.")
    ] = None,
    tenant: Annotated[
        str, typer.Option(help="Of an engine: whose pictures these are, where tenants are isolated.")
    ] = "",
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Pictures asked for at once.")] = 4,
    rate: Annotated[float, typer.Option(min=0, help="Pictures begun in a second, at most; 0: no limit.")] = 0.0,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where it is written down what is done (beside the first input)."),
    ] = None,
    afresh: Annotated[bool, typer.Option(help="Ask for all, whatever is written down there.")] = False,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write what became of them as JSON.")] = None,
) -> None:
    """Have the embeddings of pictures computed and kept before anybody asks about them.

    Exit code 0: all are there; 1: some were refused or failed, or it was interrupted; 2: it could not begin.
    """
    try:
        read = settings_of(settings, preprocessor)
        done = asyncio.run(
            run(
                pictures,
                Target(engine, api_key, model, concurrency),
                read,
                tenant,
                Pace(concurrency, rate),
                resume,
                afresh,
            )
        )
        if report is not None:
            report.write_text(json.dumps(done.as_json(), indent=2) + "\n")
    except (ConfigError, TargetError, JournalError) as problem:
        refuse(str(problem))
    except OSError as problem:
        refuse(f"cannot write {report}: {problem.strerror}")
    for line in done.lines():
        typer.echo(line)
    if done.stopped:
        typer.echo(f"fovea: {done.stopped}", err=True)
    sys.exit(done.exit_code)


async def run(
    inputs: list[str],
    target: Target,
    settings: Settings,
    tenant: str,
    pace: Pace,
    resume: Path | None,
    afresh: bool,
) -> Report:
    """Ctrl-C ends it in good order. Raises ConfigError, TargetError, JournalError."""
    found = list(find_pictures(inputs))
    if not any(isinstance(each, Picture) for each in found):
        raise ConfigError("there are no pictures in what was named")
    async with target:
        of = {"target": target.url, "model": target.model, "as": identity_of(target, settings, tenant)}
        preparing = prepare_for(target, settings, tenant)
        try:
            path, total = resume or journal_path(inputs, os.environ), len(found)
            with Journal(path, of, afresh) as journal, progress_of(total) as progress:
                warming = Run(target, preparing, journal, pace, settings.images.max_bytes, progress)
                return await until_told_to_stop(warming(found))
        finally:
            await preparing.close()


async def until_told_to_stop(work: Coroutine[Any, Any, Report]) -> Report:
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


def settings_of(file: Path | None, preprocessor: Path | None) -> Settings:
    """Those that gateways are given: the same file, the same environment. Raises ConfigError."""
    given = {"FOVEA_CONFIG": file, "FOVEA_ADMISSION__PREPROCESSOR": preprocessor}
    os.environ.update({name: str(value) for name, value in given.items() if value is not None})
    read = read_settings()
    enable_formats(frozenset(read.images.formats))
    return read


def prepare_for(target: Target, settings: Settings, tenant: str) -> Preparing:
    """Raises ConfigError."""
    if target.kind == "gateway":
        if tenant:
            raise ConfigError("a gateway knows whose pictures these are by --api-key: leave --tenant out")
        return ForGateway(target.model)
    metrics, images, http = Metrics(), settings.images, settings.http
    budget = ByteBudget(http.max_bytes_in_flight, http.bytes_wait_s, metrics.bytes_in_flight)
    rule = pixel_rule(make_prices(settings.admission))
    resolver = make_images(images, rule, None, metrics, budget, Network())
    return ForEngine(resolver, budget, owner_of(settings, tenant), target.model)


def owner_of(settings: Settings, tenant: str) -> Tenant:
    """Raises ConfigError where nobody can tell by whose name gateways will know the pictures."""
    if tenant:
        return Tenant(tenant)
    if settings.images.isolate_tenants and settings.asks_for_keys:
        raise ConfigError(
            "gateways with these settings keep tenants apart: say --tenant, or warm through a gateway"
        )
    return ANONYMOUS


def identity_of(target: Target, settings: Settings, tenant: str) -> str:
    """What else decides about a picture's name: equal for runs of which one may go on with the other's journal."""
    if target.kind == "gateway":
        return "gateway"
    admission = settings.admission.model_dump_json(include={"preprocessor", "preprocessors"})
    images = settings.images.model_dump_json()
    return blake3(f"{tenant} {images} {admission}".encode()).hexdigest(length=8)


def refuse(sentence: str) -> NoReturn:
    typer.echo(f"fovea: {sentence}", err=True)
    sys.exit(2)
