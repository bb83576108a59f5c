"""Sends spans to a receiver by OTLP over HTTP, with OpenTelemetry's SDK: imported only where traces are on.

The one place where our spans become OpenTelemetry's. It runs in the queue's thread (`queue.py`).
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from server.span import Kind, Span, Spans

KINDS: Mapping[Kind, SpanKind] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
}
SAMPLED = TraceFlags(TraceFlags.SAMPLED)
SERVER_FAULT = 500


class ReceiverSession(requests.Session):
    """As requests has it, but that what is set for this receiver wins over the environment's certificates
    (psf/requests#3829), and that its headers, which may be secret, follow no redirect to elsewhere."""

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        ours = verify if self.verify is True else self.verify
        return super().merge_environment_settings(url, proxies, stream, ours, cert)

    def get_redirect_target(self, resp: Any) -> None:
        """The exporter takes a redirect for success."""
        if resp.is_redirect:
            raise requests.ConnectionError("the receiver sends us elsewhere")


class OtlpSender:
    """`headers` are the receiver's alone. What else there is to say of the process, and how to reach the receiver,
    OpenTelemetry reads off its own variables (OTEL_RESOURCE_ATTRIBUTES, proxies)."""

    def __init__(
        self, endpoint: str, headers: Mapping[str, str], service: str, timeout_s: float, ca_file: Path | None = None
    ) -> None:
        # It repeats what receivers answer, and says it again and again: the queue says it once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
        version = metadata.version("fovea")
        self._exporter = OTLPSpanExporter(
            endpoint,
            certificate_file=str(ca_file) if ca_file is not None else None,
            headers=dict(headers),
            timeout=timeout_s,
            compression=Compression.Gzip,
            session=ReceiverSession(),
        )
        self._resource = Resource.create({"service.name": service, "service.version": version})
        self._scope = InstrumentationScope("fovea", version)

    def send(self, batch: Sequence[Spans]) -> bool:
        """Whether the receiver has taken it; tried again within the timeout, where it may help."""
        made = [each for spans in batch for each in self._convert(spans)]
        return self._exporter.export(made) is SpanExportResult.SUCCESS

    def close(self) -> None:
        """Ends what `send` waits for, from any thread."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _convert(self, spans: Spans) -> Iterator[ReadableSpan]:
        first = spans[0]
        epoch_ns, ended = first.trace.epoch_ns, first.ended
        for span in spans:
            remote = span is first
            attributes = {**span.attributes, "error.type": span.error} if span.error else span.attributes
            yield ReadableSpan(
                span.name,
                context=self._context(span.trace.trace_id, span.span_id, remote=False),
                parent=self._context(span.trace.trace_id, span.parent_id, remote) if span.parent_id else None,
                resource=self._resource,
                attributes=attributes,
                kind=KINDS[span.kind],
                status=status_of(span),
                start_time=epoch_ns + span.began,
                # What nobody has ended, because its request was cut off.
                end_time=epoch_ns + (span.ended or max(ended, span.began)),
                instrumentation_scope=self._scope,
            )

    @staticmethod
    def _context(trace_id: int, span_id: int, remote: bool) -> SpanContext:
        return SpanContext(trace_id, span_id, is_remote=remote, trace_flags=SAMPLED)


def status_of(span: Span) -> Status:
    """An error, by the conventions for HTTP: of what we serve, only where it was not the caller's."""
    if span.kind == "server":
        told = span.attributes.get("http.response.status_code", 0)
        failed = isinstance(told, int) and told >= SERVER_FAULT
    else:
        failed = bool(span.error)
    return Status(StatusCode.ERROR) if failed else Status(StatusCode.UNSET)
