"""Traces, out of the settings: nothing of OpenTelemetry is imported where they are off."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

from server.errors import ConfigError
from server.metrics import Metrics
from server.setting_sections.traces import TraceSettings
from server.traces.queue import TraceQueue
from server.traces.tracer import Tracer

# That a stopping gateway gives its last spans.
LAST_SPANS_S = 2.0
HEADER = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+):[ \t]*([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)[ \t]*")


class Tracing:
    """The tracer and what it needs of the running process."""

    def __init__(self, tracer: Tracer, queue: TraceQueue, stop_sending: Callable[[], None]) -> None:
        self.tracer = tracer
        self._queue = queue
        self._stop_sending = stop_sending

    def start(self) -> None:
        self._queue.start()

    async def close(self) -> None:
        await asyncio.to_thread(self._queue.close, LAST_SPANS_S)
        self._stop_sending()


def make_tracing(settings: TraceSettings, metrics: Metrics) -> Tracing | None:
    """None where they are off. Raises ConfigError."""
    if settings.endpoint is None:
        return None
    try:  # an optional extra
        from server.traces.otlp import OtlpSender
    except ModuleNotFoundError as problem:
        raise ConfigError(
            f"traces.endpoint: {problem.name} is not installed: pip install 'fovea[traces]'"
        ) from problem
    headers = read_headers(settings.headers_file) if settings.headers_file is not None else {}
    sender = OtlpSender(settings.endpoint, headers, settings.service_name, settings.timeout_s, settings.ca_file)
    counters = {fate: metrics.trace_spans.labels(fate) for fate in ("sent", "failed", "dropped")}
    queue = TraceQueue(sender.send, settings.queue, lambda fate, count: counters[fate].inc(count))
    return Tracing(Tracer(settings.ratio, settings.callers, queue.put), queue, sender.close)


def read_headers(path: Path) -> dict[str, str]:
    """Raises ConfigError, which says no word of what is in the file."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"traces.headers_file: cannot read {path}: {type(problem).__name__}") from problem
    found = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        match = HEADER.fullmatch(line)
        if match is None:
            raise ConfigError(f"traces.headers_file: line {number} of {path} is not 'name: value'")
        found[match[1].lower()] = match[2]
    return found
