"""How vLLM is told to send its spans where the gateway sends its own: a flag, and OpenTelemetry's variables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

FLAG = "--otlp-traces-endpoint"
# Of the engine's environment; what is set there already wins.
DEFAULTS: Mapping[str, str] = {
    # vLLM's own default is gRPC.
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
    "OTEL_SERVICE_NAME": "fovea-engine",
    # Who asks an engine has chosen: probes are not traced, nor is what a gateway does not trace.
    "OTEL_TRACES_SAMPLER": "parentbased_always_off",
}
HEADERS, CERTIFICATE = "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE"


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """`headers` are the receiver's, and secret; `ca_file` are the certificates that are trusted there."""

    endpoint: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: Path | None = None


def environ_of(options: TraceOptions) -> dict[str, str]:
    """Variables for vLLM's processes: a secret stands on no command line."""
    made = dict(DEFAULTS)
    if options.headers:
        made[HEADERS] = ",".join(f"{name}={quote(value, safe='')}" for name, value in options.headers.items())
    if options.ca_file is not None:
        made[CERTIFICATE] = str(options.ca_file)
    return made
