"""The arguments of `fovea engine` about traces; their defaults are the gateway's settings in the environment."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from server.engine.trace_options import TraceOptions
from server.errors import ConfigError
from server.setting_sections.section import mistakes_in
from server.setting_sections.traces import TraceSettings
from server.settings import read_settings
from server.wiring.traces import read_headers

OFF = "off"
TracesArgument = Annotated[
    str,
    typer.Option(
        metavar="URL|off",
        envvar="FOVEA_TRACES__ENDPOINT",
        show_envvar=False,
        help="OTLP/HTTP receiver of vLLM's spans (that of FOVEA_CONFIG, or off).",
    ),
]
TracesHeadersArgument = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        envvar="FOVEA_TRACES__HEADERS_FILE",
        show_envvar=False,
        help="Headers for it, name: value a line.",
    ),
]


TracesCaArgument = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        envvar="FOVEA_TRACES__CA_FILE",
        show_envvar=False,
        help="Certificates to trust there, instead of the usual ones.",
    ),
]


def make_trace_options(
    endpoint: str, headers_file: Path | None, ca_file: Path | None = None, config: str | None = None
) -> TraceOptions | None:
    """None where nobody receives them. `config`: the gateway's file, for what is not given. Raises ConfigError."""
    if config is not None:
        traces = read_settings({"FOVEA_CONFIG": config}).traces
        endpoint = endpoint or traces.endpoint or OFF
        headers_file, ca_file = headers_file or traces.headers_file, ca_file or traces.ca_file
    if endpoint in ("", OFF):
        return None
    try:
        url = TraceSettings(endpoint=endpoint).endpoint
    except ValidationError as problem:
        raise ConfigError(f"--traces: {mistakes_in(problem)[0][1]}") from None
    assert url is not None
    if ca_file is not None and not ca_file.is_file():
        raise ConfigError(f"--traces-ca: cannot read {ca_file}")
    return TraceOptions(url, read_headers(headers_file) if headers_file is not None else {}, ca_file)
