"""`fovea top`: a live view of a running deployment in the terminal."""

import asyncio
import json
import sys
from typing import Annotated, NoReturn
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.live import Live

from server.top.looking import Looking
from server.top.screen import screen_of


def top(
    gateway: Annotated[str, typer.Option(metavar="URL", help="The gateway.")] = "http://127.0.0.1:8080",
    engine: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]URL",
            help="An engine, for what only it tells; repeat in the gateway's order, or give the gateway's name.",
        ),
    ] = None,
    api_key: Annotated[
        str, typer.Option(envvar="FOVEA_API_KEY", help="Where the gateway's /metrics asks for a key.")
    ] = "",
    interval: Annotated[float, typer.Option(min=0.2, max=3600, help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look for one interval and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line instead.")] = False,
) -> None:
    """Watch engines, KV caches, queues, embedding tiers and times to first token of a running deployment.

    Reads /metrics only. Where the output is no terminal, it looks once. Exit code 1: the gateway did not answer.
    """
    try:
        looking = Looking(address(gateway), named(engine or []), api_key)
    except ValueError as problem:
        refuse(str(problem))
    once = once or not (as_json or sys.stdout.isatty())
    try:
        answered = asyncio.run(watch(looking, gateway, interval, once, as_json))
    except KeyboardInterrupt:
        return
    sys.exit(0 if answered else 1)


async def watch(looking: Looking, of: str, interval: float, once: bool, as_json: bool) -> bool:
    """Until told to stop, or once. Whether the gateway answered then."""
    async with looking:
        overview = await looking.look()
        if not (once or as_json):
            await live(looking, of, interval)
        while not (once and overview.trouble):
            await asyncio.sleep(interval)
            overview = await looking.look()
            if once:
                break
            typer.echo(json.dumps(overview.as_json()))
        if as_json:
            typer.echo(json.dumps(overview.as_json()))
        else:
            Console().print(screen_of(overview, of))
        return not overview.trouble


async def live(looking: Looking, of: str, interval: float) -> NoReturn:
    with Live(screen_of(await looking.look(), of), screen=True, auto_refresh=False) as shown:
        while True:
            await asyncio.sleep(interval)
            shown.update(screen_of(await looking.look(), of), refresh=True)


def named(engines: list[str]) -> dict[str, str]:
    """By the gateway's names for them. Raises ValueError."""
    found: dict[str, str] = {}
    for place, each in enumerate(engines):
        name, equals, url = each.partition("=")
        if not equals or "/" in name:
            name, url = f"engine-{place}", each
        if name in found:
            raise ValueError(f"two engines are named {name}")
        found[name] = address(url)
    return found


def address(url: str) -> str:
    """Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("give addresses as http://HOST:PORT")
    return url.rstrip("/")


def refuse(why: str) -> NoReturn:
    typer.echo(f"fovea: {why}", err=True)
    sys.exit(2)
