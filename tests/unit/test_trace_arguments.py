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
