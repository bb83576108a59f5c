"""One trace through gateway and real vLLM, as a receiver gets it."""

import secrets
from typing import Any

import httpx2
import pytest

from tests.conftest import Stack, Traces
from tests.contract.test_faults import wait_until
from tests.fakes.otlp import Received
from tests.pictures import chat, image_part, picture, text_part

CHAT = "POST /v1/chat/completions"
MARKER = "MARKEDbyTEST"


def ask(stack: Stack, body: dict[str, Any], trace: str, flags: str = "00") -> httpx2.Response:
    headers = {"traceparent": f"00-{trace}-{'1' * 16}-{flags}", "tracestate": f"k={MARKER}"}
    return httpx2.post(f"{stack.url}/v1/chat/completions", json=body, headers=headers, timeout=300)


def spans_of(traces: Traces, trace: str, *names: str) -> dict[str, Received]:
    """Of one trace, once all that are named have come: gateway and engine send them each in its own time."""

    def found() -> dict[str, Received]:
        return {span.name: span for span in traces.receiver.of_trace(trace)}

    wait_until(lambda: set(names) <= found().keys(), 120)
    return found()


@pytest.mark.real
@pytest.mark.parametrize("stream", [False, True])
def test_spans_of_gateway_and_engine_are_one_trace(bf16: Stack, traces: Traces, stream: bool) -> None:
    trace = secrets.token_hex(16)
    body = chat(image_part(picture()), text_part(f"What is {MARKER}?"), model=bf16.model, max_tokens=4)
    answer = ask(bf16, {**body, "stream": stream}, trace)
    assert answer.status_code == 200
    call = f"chat {bf16.model}"
    found = spans_of(traces, trace, CHAT, call, "image", "llm_request")
    engine, gateway = found["llm_request"], found[CHAT]
    assert engine.parent == found[call].id
    assert found[call].parent == gateway.id
    assert (gateway.resource["service.name"], engine.resource["service.name"]) == ("fovea-gateway", "fovea-engine")
    assert gateway.began <= engine.began
    # vLLM and we count the same prompt.
    counted = engine.attributes["gen_ai.usage.prompt_tokens"]
    if not stream:
        assert gateway.attributes["gen_ai.usage.input_tokens"] == counted
    assert engine.attributes["gen_ai.request.id"].endswith(answer.headers["x-request-id"])


@pytest.mark.real
def test_neither_tells_what_was_asked(bf16: Stack, traces: Traces) -> None:
    trace = secrets.token_hex(16)
    body = chat(text_part(MARKER), model=bf16.model, max_tokens=4, user=MARKER, stop=[MARKER])
    assert ask(bf16, body, trace).status_code == 200
    spans_of(traces, trace, CHAT, "llm_request")
    assert not [raw for raw in traces.receiver.raw if MARKER.encode() in raw]


@pytest.mark.real
def test_what_no_gateway_traces_an_engine_does_not_either(bf16: Stack, traces: Traces) -> None:
    """Probes among it, and whoever asks it past the gateway."""
    body = {"model": bf16.model, "prompt": "one two three four", "max_tokens": 1}
    passed_by = httpx2.post(f"{bf16.engine}/v1/completions", json=body, timeout=300)
    assert passed_by.status_code == 200
    trace = secrets.token_hex(16)
    assert ask(bf16, chat(text_part("and now"), model=bf16.model, max_tokens=1), trace).status_code == 200
    spans_of(traces, trace, CHAT, "llm_request")
    told = traces.receiver.named("llm_request")
    assert {span.trace for span in told} <= {span.trace for span in traces.receiver.named(CHAT)} | {trace}
    assert all(span.parent for span in told)
