"""`fovea doctor`: looks at this machine, the settings, a checkpoint and what runs, and says what to do."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from server.admission.key_file import TO_DO, check_file
from server.doctor.checkpoint import check_checkpoint
from server.doctor.deployment import check_engine as check_running_engine
from server.doctor.deployment import check_gateway
from server.doctor.environments import check_engine, check_extras, find_engine, read_torch, wanted_vllm
from server.doctor.finding import Finding, as_json, failure, ok, show, warning, worst
from server.doctor.gpu import check_gpus, check_model_on_gpus
from server.doctor.machine import (
    check_clock,
    check_folder,
    check_listening,
    check_open_files,
    check_python,
    check_shared_memory,
)
from server.doctor.stores import check_store
from server.engine.cache_options import SHARED_VARIABLE
from server.engine.nvml import Driver, NoNvml, read_driver
from server.engine.vllm_build import LaunchError
from server.errors import ConfigError
from server.settings import Settings, read_settings
from server.tuning import files_for

ENGINE_PORT = 8000


def doctor(
    model: Annotated[str, typer.Option(metavar="DIR", help="A checkpoint to look at.")] = "",
    gateway: Annotated[str, typer.Option(metavar="URL", help="A gateway that runs.")] = "",
    engine: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="An engine that runs; repeat for several.")
    ] = None,
    embedding_cache: Annotated[
        str, typer.Option(metavar="DIR", help="Where an engine is to keep embeddings.")
    ] = "",
    embedding_cache_shared: Annotated[
        str, typer.Option(metavar="URL|DIR", envvar=SHARED_VARIABLE, show_envvar=False, help="What engines share.")
    ] = "",
    api_key: Annotated[
        str, typer.Option(envvar="FOVEA_API_KEY", help="Where the gateway's /metrics asks for a key.")
    ] = "",
    as_json_: Annotated[bool, typer.Option("--json", help="One JSON object instead of lines.")] = False,
) -> None:
    """Check versions, GPUs, checkpoint, ports, stores, folders and limits, and what runs already.

    Settings are read as a gateway reads them (FOVEA_*, FOVEA_CONFIG). Exit code 1: something has to be mended.
    """
    engines = engine or []
    found: list[Finding] = []
    for finding in look(model, gateway, engines, embedding_cache, embedding_cache_shared, api_key):
        found.append(finding)
        if not as_json_:
            for line in show(finding):
                typer.echo(line)
    if as_json_:
        typer.echo(json.dumps(as_json(found), indent=2))
    sys.exit(1 if worst(found) == "failure" else 0)


def look(model: str, gateway: str, engines: list[str], cache: str, shared: str, api_key: str) -> Iterator[Finding]:
    yield from check_python()
    yield from look_at_engine_environment(model)
    yield from check_shared_memory()
    yield from check_clock()
    if model:
        yield from check_checkpoint(model)
    if cache:
        yield from check_folder("embedding cache", Path(cache).expanduser())
    if shared:
        yield from look_at_shared(shared)
    yield from look_at_settings(gateway)
    for url in engines:
        yield from check_running_engine(url.rstrip("/"))
    if not engines and not gateway:
        yield from check_listening("engine", "127.0.0.1", ENGINE_PORT, "--port")
    if gateway:
        yield from check_gateway(gateway.rstrip("/"), api_key)


def look_at_engine_environment(model: str) -> Iterator[Finding]:
    build = find_engine(os.environ)
    torch = None if isinstance(build, LaunchError) else read_torch(build.python)
    yield from check_engine(build, torch, wanted_vllm())
    driver: Driver | NoNvml
    try:
        driver = read_driver()
    except NoNvml as problem:
        driver = problem
    yield from check_gpus(driver, torch.cuda if torch is not None else None)
    if isinstance(driver, Driver) and driver.gpus and model:
        yield from check_model_on_gpus(model, driver, os.environ.get("CUDA_VISIBLE_DEVICES"))


def look_at_shared(shared: str) -> Iterator[Finding]:
    what = "shared embeddings"
    if urlsplit(shared).scheme in ("redis", "rediss"):
        yield from check_store(what, shared)
    else:
        yield from check_folder(what, Path(shared).expanduser())


def look_at_settings(gateway: str) -> Iterator[Finding]:
    try:
        settings = read_settings()
    except ConfigError as problem:
        yield failure("settings", str(problem), "mend them: a gateway would not start")
        return
    yield ok("settings", "a gateway can read them")
    yield from look_at_gateway(settings, gateway)


def look_at_gateway(settings: Settings, gateway: str) -> Iterator[Finding]:
    """What one with these settings would need here."""
    http, limits, files = settings.http, settings.limits, settings.files
    if not gateway:
        yield from check_listening("gateway", http.host, http.port, "http.port")
    yield from check_open_files(files_for(http.max_connections))
    yield from check_extras(settings)
    if settings.auth.keys_file is not None:
        yield from check_keys_file(settings.auth.keys_file)
    if limits.store_url is not None:
        yield from check_store("limits.store_url", limits.store_url.get_secret_value())
    if files.path is not None:
        yield from check_folder("files.path", files.path)


def check_keys_file(path: Path) -> Iterator[Finding]:
    try:
        count = check_file(path)
    except ConfigError as problem:
        yield failure("auth.keys_file", str(problem), TO_DO)
        return
    if count:
        yield ok("auth.keys_file", f"{path}, keys: {count}")
    else:
        yield warning("auth.keys_file", f"{path} holds no key: nobody is let in", TO_DO)
