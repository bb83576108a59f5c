"""Traces as a receiver gets them by OTLP over HTTP: what is in them, what is not, and what they cannot hold up."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from demo.processes import running
from server.together import free_port
from tests.contract.test_faults import wait_until
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway, metric
from tests.fakes.otlp import OtlpReceiver, Received
from tests.fakes.serve import serving
from tests.pictures import chat, data_url, image_part, picture, text_part

CHAT = "/v1/chat/completions"
SERVER, CLIENT = 2, 3
ERROR = 2
QUICK = {"FOVEA_ENGINES__POLL_S": "0.1", "FOVEA_HTTP__DRAIN_GRACE_S": "0"}
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

# Spans come a second after their request, and later where the machine is slow.
until = partial(wait_until, seconds=60)


@contextmanager
def traced(
    *engines: FakeEngine, receiver: OtlpReceiver, traces: dict[str, Any] | None = None, **sections: Any
) -> Iterator[str]:
    with serving(receiver.app) as endpoint:
        urls = [serving(engine.app) for engine in engines]
        entered = [each.__enter__() for each in urls]
        try:
            settings = {"endpoint": endpoint, "ratio": 1, **(traces or {})}
            with gateway(*entered, traces=settings, **sections) as url:
                yield url
        finally:
            for each in urls:
                each.__exit__(None, None, None)


def root_of(receiver: OtlpReceiver, name: str = f"POST {CHAT}", count: int = 1) -> Received:
    """The span of the last of `count` requests, once all of them have come."""
    until(lambda: len(receiver.named(name)) >= count)
    return receiver.named(name)[-1]


def children(receiver: OtlpReceiver, above: Received) -> list[Received]:
    found = [span for span in receiver.of_trace(above.trace) if span.parent == above.id]
    return sorted(found, key=lambda span: span.began)


def post(url: str, body: Any, **headers: str) -> httpx2.Response:
    return httpx2.post(url + CHAT, json=body, headers=headers, timeout=30)


@pytest.mark.parametrize("stream", [False, True])
def test_every_stage_of_a_chat_is_a_span(stream: bool) -> None:
    engine, receiver = FakeEngine(), OtlpReceiver()
    with traced(engine, receiver=receiver) as url:
        large = image_part(picture("PNG", size=(1400, 1400)))
        answer = post(url, chat(image_part(picture()), large, text_part("what?"), stream=stream))
        assert answer.status_code == 200
        root = root_of(receiver)
    stages = children(receiver, root)
    assert (root.parent, root.kind, root.status) == ("", SERVER, 0)
    assert root.resource["service.name"] == "fovea-gateway"
    names = ["authenticate", "read body", "parse", "images", "price", "limits", "write", "admission", "chat demo"]
    assert [span.name for span in stages] == [*names, "relay"]
    assert all(root.began <= span.began <= span.ended <= root.ended for span in stages)
    call = stages[names.index("chat demo")]
    assert call.kind == CLIENT
    assert [span.name for span in children(receiver, call)] == ["send", "first byte"]
    assert engine.heads[0]["traceparent"] == f"00-{root.trace}-{call.id}-01"
    pictures = [span for span in receiver.of_trace(root.trace) if span.name == "image"]
    assert {span.parent for span in pictures} == {stages[names.index("images")].id}
    assert [[piece.name for piece in children(receiver, span)][:3] for span in pictures] == [
        ["fetch", "check", "digest"]
    ] * 2
    assert root.attributes["http.route"] == CHAT
    assert root.attributes["http.response.status_code"] == 200
    assert root.attributes["gen_ai.request.model"] == "demo"
    assert root.attributes["fovea.images"] == 2
    assert root.attributes["fovea.request_id"] == answer.headers["x-request-id"]
    if not stream:
        assert root.attributes["gen_ai.usage.input_tokens"] == answer.json()["usage"]["prompt_tokens"]
        assert root.attributes["gen_ai.usage.output_tokens"] == answer.json()["usage"]["completion_tokens"]


def test_a_picture_that_is_brought_down_has_a_piece_for_it() -> None:
    receiver = OtlpReceiver()
    part = image_part(picture("PNG", size=(900, 900)))
    part["image_url"]["detail"] = "low"
    with traced(FakeEngine(), receiver=receiver) as url:
        assert post(url, chat(part)).status_code == 200
        root = root_of(receiver)
    (image,) = [span for span in receiver.of_trace(root.trace) if span.name == "image"]
    assert [piece.name for piece in children(receiver, image)] == ["fetch", "check", "digest", "decode"]
    assert image.attributes["fovea.image.format"] == "png"
    assert (image.attributes["fovea.image.width"], image.attributes["fovea.image.height"]) == (900, 900)
    assert image.attributes["fovea.image.changes"]


def test_a_second_try_is_a_span_of_its_own_and_each_engine_gets_its_own_parent() -> None:
    engines, receiver = [FakeEngine(), FakeEngine()], OtlpReceiver()
    with traced(*engines, receiver=receiver) as url:
        until(lambda: metric(url, 'fovea_engine_ready{engine="engine-1"}') == 1)
        engines[0].fail = 500
        for number in range(20):  # whichever of the two they go to
            assert post(url, chat(text_part(f"question {number}"))).status_code == 200
        until(lambda: len(receiver.named(f"POST {CHAT}")) == 20)
    failed = [span for span in receiver.named("chat demo") if span.status == ERROR]
    assert failed
    assert {span.attributes["error.type"] for span in failed} == {"engine_failed"}
    for span in failed:
        (again,) = [each for each in receiver.of_trace(span.trace) if each.name == span.name and each.id != span.id]
        assert again.attributes["http.request.resend_count"] == 1
        assert again.parent == span.parent
    sent = {head["traceparent"] for engine in engines for head in engine.heads}
    assert sent == {f"00-{span.trace}-{span.id}-01" for span in receiver.named("chat demo")}


def test_a_callers_trace_goes_on_and_what_it_says_besides_does_not() -> None:
    engine, receiver = FakeEngine(), OtlpReceiver()
    said = {"tracestate": "k=MARKEDbyTEST", "baggage": "k=MARKEDbyTEST"}
    with traced(engine, receiver=receiver) as url:
        assert post(url, chat(), traceparent=f"00-{TRACE}-{SPAN}-00", **said).status_code == 200
        root = root_of(receiver)
    assert (root.trace, root.parent) == (TRACE, SPAN)
    assert {span.trace for span in receiver.spans} == {TRACE}
    assert engine.heads[0]["traceparent"].startswith(f"00-{TRACE}-")
    assert not {"tracestate", "baggage"} & engine.heads[0].keys()
    assert not [raw for raw in receiver.raw if b"MARKEDbyTEST" in raw]


def test_a_trusted_callers_flag_decides_and_engines_are_told() -> None:
    engine, receiver = FakeEngine(), OtlpReceiver()
    with traced(engine, receiver=receiver, traces={"callers": "trust", "ratio": 0}) as url:
        for flags in ("00", "01"):
            assert post(url, chat(), traceparent=f"00-{TRACE}-{SPAN}-{flags}").status_code == 200
        assert post(url, chat()).status_code == 200
        assert post(url, chat(), traceparent=f"00-{TRACE}-{SPAN}-01").status_code == 200
        root_of(receiver, count=2)
    assert len(receiver.named(f"POST {CHAT}")) == 2
    assert [head["traceparent"][-2:] for head in engine.heads] == ["00", "01", "00", "01"]


def failing_requests() -> list[tuple[str, Callable[[str], httpx2.Response], int, str]]:
    broken = {"type": "image_url", "image_url": {"url": data_url(b"no picture")}}
    return [
        ("unknown model", lambda url: post(url, chat(model="nobody")), 404, "model_not_found"),
        ("no picture", lambda url: post(url, chat(broken)), 415, "unsupported_image_format"),
        ("no json", lambda url: httpx2.post(url + CHAT, content="{", headers={"content-type": "application/json"}),
         400, "invalid_json"),
        ("too long", lambda url: post(url, chat(max_tokens=10**6)), 400, "context_length_exceeded"),
    ]  # fmt: skip


@pytest.mark.parametrize(("_", "ask", "status", "code"), failing_requests())
def test_what_is_refused_is_told_by_its_code(
    _: str, ask: Callable[[str], httpx2.Response], status: int, code: str
) -> None:
    receiver = OtlpReceiver()
    with traced(FakeEngine(), receiver=receiver) as url:
        assert ask(url).status_code == status
        root = root_of(receiver)
    assert (root.attributes["http.response.status_code"], root.attributes["error.type"]) == (status, code)
    assert root.status == 0  # the caller's fault is no error of ours
    last = children(receiver, root)[-1]
    assert last.status == ERROR
    assert last.attributes["error.type"] == code


def test_an_engine_that_fails_is_an_error() -> None:
    engine, receiver = FakeEngine(), OtlpReceiver()
    with traced(engine, receiver=receiver) as url:
        engine.fail = 500
        assert post(url, chat()).status_code == 502
        assert root_of(receiver).status == ERROR


def test_other_routes_have_their_span_and_probes_have_none() -> None:
    receiver = OtlpReceiver()
    with traced(FakeEngine(), receiver=receiver) as url:
        httpx2.get(f"{url}/metrics")
        httpx2.get(f"{url}/v1/models/MARKEDbyTEST")
        root = root_of(receiver, "GET /v1/models/{name:path}")
    assert [span.name for span in receiver.spans] == [root.name]
    assert not [raw for raw in receiver.raw if b"MARKEDbyTEST" in raw]


def test_the_receiver_is_shown_its_headers_and_nobody_else_is(tmp_path: Path) -> None:
    engine, receiver = FakeEngine(), OtlpReceiver()
    secret = tmp_path / "headers"
    secret.write_text("authorization: Bearer very-secret\n")
    with traced(engine, receiver=receiver, traces={"headers_file": secret}) as url:
        assert post(url, chat()).status_code == 200
        root_of(receiver)
    assert receiver.headers[0]["authorization"] == "Bearer very-secret"
    assert "very-secret" not in str(engine.heads)


def test_headers_follow_no_redirect(tmp_path: Path) -> None:
    engine, receiver = FakeEngine(), OtlpReceiver()
    secret = tmp_path / "headers"
    secret.write_text("x-key: very-secret\n")

    async def elsewhere(_: Request) -> Response:
        return RedirectResponse(f"{other}/v1/traces", status_code=307)

    asked = Starlette(routes=[Route("/v1/traces", elsewhere, methods=["POST"])])
    with serving(receiver.app) as other, serving(asked) as endpoint, serving(engine.app) as engine_url:
        traces = {"endpoint": endpoint, "ratio": 1, "headers_file": secret, "timeout_s": 0.5}
        with gateway(engine_url, traces=traces) as url:
            assert post(url, chat()).status_code == 200
            until(lambda: metric(url, 'fovea_trace_spans_total{outcome="failed"}') > 0)
    assert receiver.headers == []


def test_a_receiver_with_a_certificate_of_its_own_is_trusted_by_its_file(tmp_path: Path) -> None:
    engine, receiver, authority = FakeEngine(), OtlpReceiver(), trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    with serving(receiver.app, ssl_certfile=tmp_path / "own.pem") as plain, serving(engine.app) as engine_url:
        traces = {"endpoint": plain.replace("http:", "https:"), "ratio": 1, "ca_file": tmp_path / "ca.pem"}
        with gateway(engine_url, traces=traces) as url:
            assert post(url, chat()).status_code == 200
            root_of(receiver)


@pytest.mark.parametrize("how", ["refuses", "hangs", "is gone"])
def test_a_receiver_that_takes_nothing_keeps_nobody_waiting_and_is_told_of_once(how: str) -> None:
    engine, receiver = FakeEngine(), OtlpReceiver()
    receiver.fail, receiver.says = (400, "MARKEDbyTEST") if how == "refuses" else (None, "")
    if how == "hangs":
        receiver.go.clear()
    with serving(receiver.app) as endpoint, serving(engine.app) as engine_url:
        environ = {
            "FOVEA_TRACES__ENDPOINT": endpoint if how != "is gone" else f"http://127.0.0.1:{free_port()}",
            "FOVEA_TRACES__RATIO": "1",
            "FOVEA_TRACES__QUEUE": "30",
            "FOVEA_TRACES__TIMEOUT_S": "0.3",
            **QUICK,
        }
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        with running("server", "gateway", "--engine", engine_url, "--port", str(port), **environ) as process:
            process.wait_for("engine-0 is ready", 60)

            def lost(fate: str) -> float:
                return metric(url, f'fovea_trace_spans_total{{outcome="{fate}"}}')

            def some_are_dropped() -> bool:
                assert {post(url, chat()).status_code for _ in range(10)} == {200}
                return lost("dropped") > 0

            until(some_are_dropped)
            until(lambda: lost("failed") > 0)
            before = lost("failed")
            assert post(url, chat()).status_code == 200
            until(lambda: lost("failed") > before)
            assert lost("sent") == 0
            assert process.stop() == 0
        receiver.go.set()
    said = [line for line in process.lines if "spans are lost" in line]
    assert len(said) == 1
    assert "MARKEDbyTEST" not in process.output
    assert not [line for line in process.lines if "opentelemetry" in line or "urllib3" in line]


def test_a_gateway_that_stops_sends_what_it_still_has() -> None:
    engine, receiver = FakeEngine(), OtlpReceiver()
    with serving(receiver.app) as endpoint, serving(engine.app) as engine_url:
        environ = {"FOVEA_TRACES__ENDPOINT": endpoint, "FOVEA_TRACES__RATIO": "1", **QUICK}
        port = free_port()
        with running("server", "gateway", "--engine", engine_url, "--port", str(port), **environ) as process:
            process.wait_for("engine-0 is ready", 60)
            assert post(f"http://127.0.0.1:{port}", chat()).status_code == 200
            assert process.stop() == 0
        assert receiver.named(f"POST {CHAT}")


LOADED = """
import sys
import httpx2
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving
from tests.pictures import chat, image_part, picture
import server.cli
traces = {"endpoint": sys.argv[1], "ratio": 1} if len(sys.argv) > 1 else {}
engine = FakeEngine()
with serving(engine.app) as engine_url, gateway(engine_url, traces=traces) as url:
    headers = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    body = chat(image_part(picture()))
    assert httpx2.post(url + "/v1/chat/completions", json=body, headers=headers, timeout=30).status_code == 200
    httpx2.get(url + "/v1/models/nobody")
parts = ("opentelemetry.sdk", "opentelemetry.exporter", "google.protobuf", "server.traces.otlp")
print([part for part in parts if part in sys.modules])
print(engine.heads[0].get("traceparent"))
"""


def loaded(*arguments: str, **environ: str) -> list[str]:
    command, environment = [sys.executable, "-c", LOADED, *arguments], {**os.environ, **environ}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_nothing_is_loaded_where_traces_are_off_and_nobody_hears_of_a_trace_not_even_from_fastapi() -> None:
    """FastAPI itself imports OpenTelemetry's API, which does nothing without what is not loaded here."""
    receiver = OtlpReceiver()
    with serving(receiver.app) as endpoint:
        environ = {"FASTAPI_OTEL_AUTO_CONFIGURE": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        assert loaded(**environ) == ["[]", "None"]
    assert receiver.headers == []


def test_it_is_loaded_where_they_are_on() -> None:
    receiver = OtlpReceiver()
    with serving(receiver.app) as endpoint:
        modules, traceparent = loaded(endpoint)
    assert "opentelemetry.sdk" in modules
    assert "server.traces.otlp" in modules
    assert traceparent.startswith(f"00-{TRACE}-")
    assert receiver.named(f"POST {CHAT}")
