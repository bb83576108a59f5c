from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanKind, StatusCode

from server.span import Span, Trace
from server.traces.otlp import OtlpSender, status_of


def sent(*spans: Span) -> list[Any]:
    """What OpenTelemetry's exporter would be given."""
    made: list[Any] = []

    class Exporter:
        def export(self, spans: Any) -> SpanExportResult:
            made.extend(spans)
            return SpanExportResult.SUCCESS

    sender = OtlpSender("http://127.0.0.1:1/v1/traces", {}, "fovea-gateway", 1)
    sender._exporter = Exporter()  # type: ignore[assignment]
    assert sender.send([spans])
    return made


def test_spans_become_opentelemetrys_with_their_ids_times_and_parents() -> None:
    root = Trace(0xABC, parent_id=0xDEF).spans[0]
    root.name = "POST /v1/chat/completions"
    call = root.begin("chat demo", "client")
    call.attributes["fovea.engine"] = "engine-0"
    call.end("engine_failed")
    open_still = root.begin("image")
    root.end()
    first, second, third = sent(*root.trace.spans)
    assert (first.context.trace_id, first.parent.span_id, first.parent.is_remote) == (0xABC, 0xDEF, True)
    assert (second.context.span_id, second.parent.span_id) == (call.span_id, root.span_id)
    assert not second.parent.is_remote
    assert [each.kind for each in (first, second, third)] == [SpanKind.SERVER, SpanKind.CLIENT, SpanKind.INTERNAL]
    assert second.attributes == {"fovea.engine": "engine-0", "error.type": "engine_failed"}
    assert first.start_time <= second.start_time <= second.end_time <= first.end_time
    assert (open_still.ended, third.end_time) == (0, first.end_time)
    assert first.resource.attributes["service.name"] == "fovea-gateway"
    assert first.start_time > 1_700_000_000 * 10**9


def test_a_trace_of_our_own_has_no_parent() -> None:
    root = Trace(0xABC).spans[0]
    root.end()
    (first,) = sent(root)
    assert first.parent is None


@pytest.mark.parametrize(("status", "failed"), [(200, False), (404, False), (499, False), (502, True)])
def test_only_what_is_not_the_callers_fault_is_an_error_of_a_request(status: int, failed: bool) -> None:
    root = Trace(1).spans[0]
    root.attributes["http.response.status_code"] = status
    root.end("some_code" if status != 200 else "")
    assert status_of(root).status_code is (StatusCode.ERROR if failed else StatusCode.UNSET)
    assert status_of(root).description is None


@pytest.mark.parametrize("error", ["", "engine_timeout"])
def test_a_piece_that_failed_is_an_error(error: str) -> None:
    piece = Trace(1).spans[0].begin("chat demo", "client")
    piece.end(error)
    assert (status_of(piece).status_code is StatusCode.ERROR) is bool(error)
