from pathlib import Path

import pytest

from server.errors import ConfigError
from server.trace_arguments import make_trace_options


def test_without_a_receiver_there_are_no_traces(tmp_path: Path) -> None:
    assert make_trace_options("", tmp_path / "none") is None


def test_the_receiver_and_its_headers_are_those_of_the_gateways_settings(tmp_path: Path) -> None:
    headers = tmp_path / "headers"
    headers.write_text("authorization: Bearer abc\n")
    made = make_trace_options("http://127.0.0.1:4318", headers)
    assert made is not None
    assert (made.endpoint, made.headers) == ("http://127.0.0.1:4318/v1/traces", {"authorization": "Bearer abc"})


def test_what_is_no_receiver_is_refused_in_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"^--traces: .* is not a URL like"):
        make_trace_options("grpc://127.0.0.1:4317", None)


def test_what_is_not_given_stands_in_the_gateways_own_file(tmp_path: Path) -> None:
    (tmp_path / "headers").write_text("x: y\n")
    (tmp_path / "ca.pem").write_text("")
    config = tmp_path / "fovea.yaml"
    config.write_text(
        "traces: {endpoint: 'http://in-the-file:4318', "
        f"headers_file: {tmp_path}/headers, ca_file: {tmp_path}/ca.pem}}"
    )
    made = make_trace_options("", None, None, str(config))
    assert made is not None
    assert (made.endpoint, made.headers) == ("http://in-the-file:4318/v1/traces", {"x": "y"})
    assert made.ca_file == tmp_path / "ca.pem"
    given = make_trace_options("http://given:4318", None, None, str(config))
    assert given is not None
    assert given.endpoint == "http://given:4318/v1/traces"
    assert make_trace_options("off", None, None, str(config)) is None
    config.write_text("traces: {}")
    assert make_trace_options("", None, None, str(config)) is None
    config.write_text("trace: {}")
    with pytest.raises(ConfigError, match="trace"):
        make_trace_options("", None, None, str(config))


def test_certificates_that_are_not_there_are_refused_before_vllm_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"^--traces-ca: cannot read {tmp_path}/none$"):
        make_trace_options("https://receiver:4318", None, tmp_path / "none")
