import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from server.errors import ConfigError
from server.metrics import Metrics
from server.setting_sections.traces import TraceSettings
from server.wiring.traces import make_tracing, read_headers


def test_traces_are_off_where_nobody_receives_them() -> None:
    assert make_tracing(TraceSettings(), Metrics()) is None


def test_a_missing_extra_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "server.traces.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    with pytest.raises(ConfigError, match=r"^traces\.endpoint: opentelemetry\S* is not .*'fovea\[traces\]'$"):
        make_tracing(TraceSettings(endpoint="http://127.0.0.1:4318"), Metrics())


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("https://otel.example/", "https://otel.example/v1/traces"),
        ("https://otel.example/own/path", "https://otel.example/own/path"),
    ],
)
def test_a_receiver_without_a_path_has_the_protocols(given: str, meant: str) -> None:
    assert TraceSettings(endpoint=given).endpoint == meant


@pytest.mark.parametrize(
    "url", ["127.0.0.1:4318", "grpc://127.0.0.1:4317", "http://", "http://user:SECRET@a.example"]
)
def test_what_is_no_receiver_stops_the_start(url: str) -> None:
    with pytest.raises(ValidationError) as problem:
        TraceSettings(endpoint=url)
    assert "SECRET" not in problem.value.errors()[0]["msg"]


def test_headers_are_read_from_their_file(tmp_path: Path) -> None:
    path = tmp_path / "headers"
    path.write_text("Authorization: Bearer a:b c\n\nx-scope:  lab  \n")
    assert read_headers(path) == {"authorization": "Bearer a:b c", "x-scope": "lab"}


@pytest.mark.parametrize("line", ["SECRET", "na me: SECRET", "name:", "name: a\x00SECRET", "name: ä"])
def test_a_line_that_is_no_header_is_named_by_its_number_alone(tmp_path: Path, line: str) -> None:
    path = tmp_path / "headers"
    path.write_text(f"x: y\n{line}\n")
    with pytest.raises(ConfigError, match="line 2 of") as problem:
        read_headers(path)
    assert "SECRET" not in str(problem.value)


def test_headers_that_are_not_there_stop_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        read_headers(tmp_path / "none")
