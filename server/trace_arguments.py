"""The arguments of `fovea engine` about traces; their defaults are the gateway's settings in the environment."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from server.engine.trace_options import TraceOptions
from server.errors import ConfigError
from server.setting_sections.section import mistakes_in
from server.setting_sections.traces import TraceSettings
from server.wiring.traces import read_headers

TracesArgument = Annotated[
    str,
    typer.Option(
        metavar="URL",
        envvar="FOVEA_TRACES__ENDPOINT",
        show_envvar=False,
        help="OTLP/HTTP receiver of vLLM's spans (none).",
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


def make_trace_options(endpoint: str, headers_file: Path | None) -> TraceOptions | None:
    """None where nobody receives them. Raises ConfigError."""
    if not endpoint:
        return None
    try:
        url = TraceSettings(endpoint=endpoint).endpoint
    except ValidationError as problem:
        raise ConfigError(f"--traces: {mistakes_in(problem)[0][1]}") from None
    assert url is not None
    return TraceOptions(url, read_headers(headers_file) if headers_file is not None else {})
