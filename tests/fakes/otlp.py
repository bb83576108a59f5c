"""A receiver of traces: OTLP over HTTP, decoded with OpenTelemetry's own protocol buffers."""

import asyncio
import gzip
import threading
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


@dataclass(frozen=True)
class Received:
    """A span as it came. Ids are hexadecimal; `parent` is empty where there is none; `kind` as the protocol's."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    status: int
    began: int
    ended: int
    attributes: dict[str, Any]
    resource: dict[str, Any]


class OtlpReceiver:
    """Knobs: `fail` is a status, told with `says`; while `go` is not set, nobody is answered."""

    def __init__(self) -> None:
        self.fail: int | None = None
        self.says = ""
        self.go = threading.Event()
        self.go.set()
        self.spans: list[Received] = []
        self.raw: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.app = Starlette(routes=[Route("/v1/traces", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        body = await request.body()
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.headers.append(dict(request.headers))
        while not self.go.is_set():
            if await request.is_disconnected():
                return Response(status_code=499)
            await asyncio.sleep(0.05)
        if self.fail is not None:
            return Response(self.says, status_code=self.fail)
        self.raw.append(body)
        self.spans += read_spans(ExportTraceServiceRequest.FromString(body))
        return Response(ExportTraceServiceResponse().SerializeToString(), media_type="application/x-protobuf")

    def of_trace(self, trace: str) -> list[Received]:
        return [span for span in self.spans if span.trace == trace]

    def named(self, name: str) -> list[Received]:
        return [span for span in self.spans if span.name == name]


def read_spans(message: Any) -> list[Received]:
    return [
        Received(
            span.name,
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            span.kind,
            span.status.code,
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            read_attributes(span.attributes),
            read_attributes(of_resource.resource.attributes),
        )
        for of_resource in message.resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]


def read_attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
