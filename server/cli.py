"""`fovea`: the command line of gateway and engine."""

import asyncio
import logging
import os
import resource
import socket
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
import uvicorn

from server import cli_ask, cli_await, cli_cache, cli_doctor, cli_keys, cli_top, cli_warm, healthcheck
from server.app import make_app, make_server_options
from server.cache_arguments import (
    CompressArgument,
    DiskArgument,
    FolderArgument,
    HostArgument,
    SharedArgument,
    SharedSizeArgument,
    TtlArgument,
    WaitArgument,
    make_options,
)
from server.crash import tell_no_values
from server.drain import Drain
from server.engine import metrics_options
from server.engine.cache_options import OFF, SHARED_VARIABLE
from server.engine.checkpoint_policy import Policy, parse_policy
from server.engine.launch import run_engine
from server.engine.launch_checks import check_model, check_port
from server.engine.vllm_build import LaunchError
from server.engine.vllm_command import DRAIN_S, GRACE_S, Launch
from server.errors import ConfigError
from server.logs import configure_logs
from server.metrics import Metrics
from server.serving import GatewayServer
from server.setting_sections.admission import LimitSettings
from server.setting_sections.logs import LogSettings
from server.settings import PREFIX, Settings, read_settings
from server.together import Together, run_together
from server.trace_arguments import TracesArgument, TracesCaArgument, TracesHeadersArgument, make_trace_options
from server.tuning import files_for, tune_process
from server.workers.control import WorkerControl
from server.workers.supervisor import Crew, listen, run_crew

log = logging.getLogger("fovea")

PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
# Of a worker's time to stop, besides what drains.
SPARE_STOP_S = 15
WORKER_COMMAND = (sys.executable, "-m", "server", "gateway-worker")
app = typer.Typer(
    help="Serve a vision-language model: stock vLLM engines behind a gateway that checks every picture.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(cli_keys.app, name="keys")
app.command()(cli_warm.warm)
app.command()(cli_top.top)
app.command()(cli_doctor.doctor)
app.command()(cli_ask.ask)
app.command()(cli_await.await_checkpoint)
app.add_typer(cli_cache.app, name="cache")

ModelOption = Annotated[str, typer.Option("--model", help="Checkpoint folder (or hub id) to serve.")]
NameOption = Annotated[str, typer.Option("--name", help="Name callers use; the folder's name by default.")]


@app.command(context_settings=PASS_ON)
def engine(
    context: typer.Context,
    model: ModelOption,
    name: NameOption = "",
    host: Annotated[str, typer.Option(help="Address to listen on. Engines belong on loopback.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds after SIGTERM to say that it leaves, and serve on.")
    ] = GRACE_S,
    drain: Annotated[int, typer.Option(min=0, help="Seconds that what runs has then.")] = DRAIN_S,
    embedding_cache: FolderArgument = OFF,
    embedding_cache_host: HostArgument = None,
    embedding_cache_disk: DiskArgument = None,
    embedding_cache_shared: SharedArgument = "",
    embedding_cache_shared_size: SharedSizeArgument = None,
    embedding_cache_ttl: TtlArgument = None,
    embedding_cache_wait: WaitArgument = None,
    embedding_cache_compress: CompressArgument = None,
    traces: TracesArgument = "",
    traces_headers: TracesHeadersArgument = None,
    traces_ca: TracesCaArgument = None,
    require_report: Annotated[
        Policy | None,
        typer.Option(
            metavar="verified|gated|trial|none",
            parser=parse_policy,
            help="Start only what its fovea-report.json allows.",
        ),
    ] = None,
) -> None:
    """Start stock vLLM's OpenAI server with sane defaults; any other option is passed on to vLLM.

    vLLM is looked for in FOVEA_ENGINE_PYTHON, this environment, then the project's engine environment.
    """
    environ = os.environ | ({SHARED_VARIABLE: embedding_cache_shared} if embedding_cache_shared else {})
    try:
        cache = make_options(
            embedding_cache,
            embedding_cache_host,
            embedding_cache_disk,
            embedding_cache_shared,
            embedding_cache_shared_size,
            embedding_cache_ttl,
            embedding_cache_wait,
            embedding_cache_compress,
        )
        options, metrics = tuple(context.args), metrics_options.is_on(environ)
        tracing = make_trace_options(traces, traces_headers, traces_ca, environ.get("FOVEA_CONFIG"))
        served = name or default_name(model)
        launch = Launch(model, served, host, port, options, grace, drain, cache, metrics, tracing, require_report)
        code = run_engine(launch, environ, lambda line: say(f"fovea engine: {line}"))
    except (ConfigError, LaunchError) as problem:
        refuse(str(problem))
    sys.exit(code)


@app.command()
def gateway(
    engine: Annotated[list[str] | None, typer.Option(help="Base URL of an engine; repeat for several.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (8080).")] = None,
    preprocessor: Annotated[
        Path | None,
        typer.Option(help="The model's folder or its preprocessor_config.json: prices images exactly."),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that serve (1).")] = None,
) -> None:
    """Start the gateway: OpenAI's API in front of one or more engines.

    Every setting is a FOVEA_* variable, nested with __ (FOVEA_IMAGES__MAX_BYTES=10MiB), or a key of the YAML
    file that FOVEA_CONFIG names. Options given here win.
    """
    given: dict[str, object] = {
        "ENGINES__URLS": engine and "[" + ",".join(f'"{url}"' for url in engine) + "]",
        "HTTP__HOST": host,
        "HTTP__PORT": port,
        "ADMISSION__PREPROCESSOR": preprocessor,
        "HTTP__WORKERS": workers,
    }
    os.environ.update({PREFIX + key: str(value) for key, value in given.items() if value is not None})
    tell_no_values()
    try:
        settings = read_settings()
        check_port(settings.http.host, settings.http.port)
        if settings.http.workers == 1:
            serve(settings, Metrics())
            return
        start_logs(settings.logs)
    except (ConfigError, LaunchError) as problem:
        refuse(str(problem))
    sys.exit(supervise(settings))


def supervise(settings: Settings) -> int:
    """Several processes, until told to stop. Returns the exit code."""
    http = settings.http
    try:
        listeners = listen(http.host, http.port)
    except OSError as problem:
        refuse(f"cannot listen on {http.host}:{http.port} ({problem.strerror}): choose another --port.")
    if settings.limits.store_url is None and (settings.limits != LimitSettings() or settings.auth.keys_file):
        words = "limits are counted by each of the %d workers for itself: a key may take up to %d times its own"
        log.warning(words, http.workers, http.workers)
    stop_s = http.drain_grace_s + http.drain_s + SPARE_STOP_S
    return run_crew(Crew(WORKER_COMMAND, http.workers, stop_s, Metrics().across_workers), listeners)


@app.command(hidden=True)
def gateway_worker(control: Annotated[int, typer.Option()], listener: Annotated[list[int], typer.Option()]) -> None:
    """One of several processes of the gateway, started by their supervisor: its settings are in the environment."""
    tell_no_values()
    metrics = Metrics()
    try:
        line = WorkerControl(socket.socket(fileno=control), metrics.text)
        serve(read_settings(), metrics, line, [socket.socket(fileno=each) for each in listener])
    except ConfigError as problem:
        refuse(str(problem))


def serve(
    settings: Settings,
    metrics: Metrics,
    control: WorkerControl | None = None,
    listeners: list[socket.socket] | None = None,
) -> None:
    """Until told to stop. Raises ConfigError."""
    start_logs(settings.logs)
    drain, http = Drain(), settings.http
    application = make_app(settings, drain=drain, metrics=metrics, scrape=control.scrape if control else None)
    tune_process()
    allow_open_files(files_for(http.max_connections))
    config = uvicorn.Config(application, host=http.host, port=http.port, **make_server_options(http))
    GatewayServer(config, drain, http.drain_grace_s, http.drain_s, control).run(listeners)


def start_logs(logs: LogSettings) -> None:
    form = logs.format
    if form == "auto":
        form = "text" if sys.stderr.isatty() else "json"
    configure_logs(form, logs.level, logs.audit_file, logs.audit_max_bytes, logs.audit_backups)


@app.command(context_settings=PASS_ON)
def up(
    context: typer.Context,
    model: ModelOption,
    name: NameOption = "",
    host: Annotated[str, typer.Option(help="Address the gateway listens on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the gateway.")] = 8080,
    engine_port: Annotated[int, typer.Option(help="Port of the engine; 0 takes a free one.")] = 0,
) -> None:
    """Start engine and gateway on this machine; any other option is passed on to vLLM. Ctrl-C stops both."""
    plan = Together(model, name or default_name(model), host, port, engine_port, tuple(context.args))
    try:
        check_model(model)
        check_port(host, port)
    except LaunchError as problem:
        refuse(str(problem))
    sys.exit(asyncio.run(run_together(plan, say)))


@app.command("healthcheck", context_settings=PASS_ON, add_help_option=False)
def check_health(context: typer.Context) -> None:
    """Ask a gateway or an engine whether it is well (--url, --timeout): exit code 0 or 1, and one sentence."""
    sys.exit(healthcheck.main(context.args))


def allow_open_files(wanted: int) -> None:
    """As far as we may: with none left for fetches and engines, callers who only connect would stop everything."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        logging.getLogger("fovea").warning("open files are limited to %d; %d may be needed", hard, wanted)


def default_name(model: str) -> str:
    """A folder's own name; a hub id as it is."""
    path = Path(model)
    return path.resolve().name if path.exists() else model


def say(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()


def refuse(sentence: str) -> NoReturn:
    typer.echo(f"fovea: {sentence}", err=True)
    sys.exit(2)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
