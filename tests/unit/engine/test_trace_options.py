from dataclasses import replace
from pathlib import Path

import pytest

from server.engine.trace_options import CERTIFICATE, DEFAULTS, FLAG, HEADERS, TraceOptions, environ_of
from server.engine.vllm_command import make_command, make_environ
from tests.unit.engine.test_vllm_command import CPU, launch, value_of

URL = "http://127.0.0.1:4318/v1/traces"


def test_an_engine_tells_nobody_unless_it_is_told_whom() -> None:
    assert FLAG not in make_command(launch(), CPU)
    assert not [name for name in make_environ({}, CPU, launch()) if name.startswith("OTEL_")]


def test_it_sends_over_http_what_a_gateway_traces_and_nothing_else() -> None:
    traced = replace(launch(), traces=TraceOptions(URL))
    assert value_of(make_command(traced, CPU), FLAG) == URL
    made = make_environ({}, CPU, traced)
    assert {name: made[name] for name in DEFAULTS} == DEFAULTS
    assert made["OTEL_TRACES_SAMPLER"] == "parentbased_always_off"
    assert HEADERS not in made


def test_the_operators_own_flag_and_variables_win() -> None:
    traced = replace(launch(FLAG, "http://other"), traces=TraceOptions(URL))
    assert make_command(traced, CPU).count(FLAG) == 1
    assert make_environ({"OTEL_SERVICE_NAME": "mine"}, CPU, traced)["OTEL_SERVICE_NAME"] == "mine"


def test_secrets_stand_in_variables_and_on_no_command_line() -> None:
    options = TraceOptions(URL, {"authorization": "Bearer a,b=c", "x": "y"})
    assert environ_of(options)[HEADERS] == "authorization=Bearer%20a%2Cb%3Dc,x=y"
    traced = replace(launch(), traces=options)
    assert "Bearer" not in " ".join(make_command(traced, CPU))
    assert "Bearer" not in repr(traced)


def test_opentelemetry_reads_the_headers_as_they_were() -> None:
    env = pytest.importorskip("opentelemetry.util.re")
    options = TraceOptions(URL, {"authorization": "Bearer a,b=c"})
    assert env.parse_env_headers(environ_of(options)[HEADERS], liberal=True) == dict(options.headers)


def test_the_receivers_certificates_are_handed_on() -> None:
    made = make_environ({}, CPU, replace(launch(), traces=TraceOptions(URL, ca_file=Path("/etc/ca.pem"))))
    assert made[CERTIFICATE] == "/etc/ca.pem"
    assert CERTIFICATE not in environ_of(TraceOptions(URL))


def test_opentelemetrys_exporter_reads_them_where_we_put_them() -> None:
    variables = pytest.importorskip("opentelemetry.sdk.environment_variables")
    assert variables.OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE == CERTIFICATE
