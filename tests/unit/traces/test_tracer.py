import pytest
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from server.record import RequestRecord
from server.span import Spans, make_id
from server.traces.tracer import Callers, Tracer

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TIMES = 400


def caller(flags: str, trace: str = TRACE) -> list[tuple[bytes, bytes]]:
    return [(b"traceparent", f"00-{trace}-{SPAN}-{flags}".encode())]


def begun(
    ratio: float, callers: Callers = "join", headers: list[tuple[bytes, bytes]] | None = None, path: str = "/v1/x"
) -> RequestRecord:
    record = RequestRecord("req-1", "POST")
    Tracer(ratio, callers, lambda spans: None).begin(record, path, headers or [])
    return record


def finished(record: RequestRecord) -> list[Spans]:
    taken: list[Spans] = []
    Tracer(1, "join", taken.append).finish(record)
    return taken


def test_all_or_none_are_traced_as_the_ratio_says() -> None:
    assert all(begun(1).span is not None for _ in range(TIMES))
    assert all(begun(0).span is None for _ in range(TIMES))
    some = sum(begun(0.5).span is not None for _ in range(TIMES))
    assert 0 < some < TIMES


def test_the_same_traces_are_kept_that_opentelemetry_keeps() -> None:
    theirs, ours = TraceIdRatioBased(0.25), Tracer(0.25, "join", lambda spans: None)
    for _ in range(TIMES):
        number = make_id(128)
        kept = theirs.should_sample(None, number, "").decision is Decision.RECORD_AND_SAMPLE
        assert ours._keeps(number, None) is kept


@pytest.mark.parametrize("callers", ["join", "trust"])
def test_a_callers_trace_goes_on_here(callers: Callers) -> None:
    span = begun(1, callers, caller("01")).span
    assert span is not None
    assert (f"{span.trace.trace_id:032x}", f"{span.parent_id:016x}", span.trace.remote) == (TRACE, SPAN, True)


def test_of_callers_nothing_is_read_where_that_is_set() -> None:
    span = begun(1, "ignore", caller("01")).span
    assert span is not None
    assert (span.parent_id, span.trace.remote) == (0, False)
    assert f"{span.trace.trace_id:032x}" != TRACE


@pytest.mark.parametrize("trace", [TRACE, f"{1:032x}"])
def test_no_caller_forces_a_trace_by_its_flag_or_by_its_id(trace: str) -> None:
    assert all(begun(0, "join", caller("01", trace)).span is None for _ in range(TIMES))
    some = sum(begun(0.5, "join", caller("01", trace)).span is not None for _ in range(TIMES))
    assert 0 < some < TIMES


@pytest.mark.parametrize("ratio", [0.0, 1.0])
@pytest.mark.parametrize(("flags", "traced"), [("00", False), ("01", True)])
def test_a_trusted_callers_flag_decides(ratio: float, flags: str, traced: bool) -> None:
    assert (begun(ratio, "trust", caller(flags)).span is not None) is traced


def test_a_trusted_flag_of_somebody_who_is_not_let_in_counts_for_nothing() -> None:
    record = begun(0, "trust", caller("01"))
    assert finished(record) == []
    record = begun(0, "trust", caller("01"))
    record.tenant = "lab"
    assert len(finished(record)) == 1


def test_engines_are_told_of_requests_that_are_not_traced() -> None:
    assert begun(0).traceparent.endswith("-00")
    joined = begun(0, "join", caller("01"))
    assert joined.traceparent.startswith(f"00-{TRACE}-")
    assert joined.traceparent.endswith("-00")
    assert begun(1).traceparent == ""


@pytest.mark.parametrize("path", ["/health/ready", "/metrics"])
def test_probes_are_no_requests(path: str) -> None:
    record = begun(1, path=path)
    assert (record.span, record.traceparent) == (None, "")


def test_a_span_says_what_is_known_of_its_request_and_leaves_out_what_is_not() -> None:
    record = begun(1)
    record.path, record.status, record.route, record.model = "/v1/chat/completions", 200, "chat", "demo"
    record.tenant, record.key, record.engine = "lab", "ci", "engine-0"
    record.prompt_tokens, record.completion_tokens = 20, 5
    record.saw_image("d" * 64, 100)
    ((root,),) = finished(record)
    assert root.name == "POST /v1/chat/completions"
    assert root.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "demo",
        "gen_ai.usage.input_tokens": 20,
        "gen_ai.usage.output_tokens": 5,
        "fovea.request_id": "req-1",
        "fovea.engine": "engine-0",
        "fovea.images": 1,
        "fovea.image_bytes": 100,
    }
    assert record.span is None


def test_a_path_of_the_callers_is_no_name() -> None:
    record = begun(1)
    record.method, record.path, record.status, record.code = "other", "none of ours", 404, "not_found"
    ((root,),) = finished(record)
    assert root.name == "other"
    assert root.attributes["http.request.method"] == "_OTHER"
    assert root.attributes["error.type"] == root.error == "not_found"
    assert "http.route" not in root.attributes


def test_spans_that_were_left_out_are_told() -> None:
    record = begun(1)
    assert record.span is not None
    record.span.trace.left_out = 3
    ((root,),) = finished(record)
    assert root.attributes["fovea.spans_left_out"] == 3
