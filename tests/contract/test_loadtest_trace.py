"""What a run asked, or a gateway was asked, is asked again: at the same times, by the same tenants, with as many
pictures."""

from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loadtest.cli import app
from loadtest.records import RequestRecord, read_run
from loadtest.scenario.arrivals import read_trace
from server.audit_file import AuditFile
from server.line_writer import LineWriter
from server.request_lines import RequestLines, encode_json
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving

RECORDED = """\
name: recorded
arrival: {kind: poisson, rate: 40}
requests: 24
tenants: [{name: a}, {name: b, weight: 2}]
pictures:
  per_request: [{count: 0}, {count: 1}, {count: 2}]
  catalogue: 5
  reuse: {kind: zipf, skew: 1}
  sizes: [{width: 32, height: 32}]
"""
REPLAYED = RECORDED.replace("requests: 24\n", "").replace(
    "{kind: poisson, rate: 40}", "{kind: trace, file: trace.jsonl, speed: 2}"
)


def invoke(*command: str | Path) -> str:
    done = CliRunner().invoke(app, [str(each) for each in command], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def numbered(requests: tuple[RequestRecord, ...]) -> list[tuple[str, tuple[int, ...]]]:
    """Tenant and pictures of each in the order in which they were due, a picture by when it was first shown."""
    numbers: dict[str, int] = {}
    ordered = sorted(requests, key=lambda one: one.due_s)
    return [(one.tenant, tuple(numbers.setdefault(name, len(numbers)) for name in one.pictures)) for one in ordered]


def test_a_run_is_replayed_at_its_times_with_its_tenants_and_pictures(tmp_path: Path) -> None:
    (tmp_path / "recorded.yaml").write_text(RECORDED)
    (tmp_path / "replayed.yaml").write_text(REPLAYED)
    engine = FakeEngine()
    with serving(engine.app) as url:
        invoke("run", tmp_path / "recorded.yaml", "--url", f"{url}/v1", "--out", tmp_path / "first")
        invoke("trace", tmp_path / "first", "--out", tmp_path / "trace.jsonl")
        invoke("run", tmp_path / "replayed.yaml", "--url", f"{url}/v1", "--out", tmp_path / "second")
    first, second = (read_run(tmp_path / name).requests for name in ("first", "second"))
    assert len(engine.chats) == 48
    assert numbered(first) == numbered(second)
    assert Counter(one.tenant for one in first).keys() == {"a", "b"}
    due = sorted(one.due_s for one in first)
    assert [2 * one.due_s for one in sorted(second, key=lambda one: one.due_s)] == pytest.approx(
        [at_s - due[0] for at_s in due], abs=1e-5
    )


def test_a_gateway_s_log_is_a_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recorded.yaml").write_text(RECORDED)
    engine, log, trace = FakeEngine(), tmp_path / "audit.log", tmp_path / "trace.jsonl"
    writer = LineWriter("audit", AuditFile(log, 10**6, 1).write, lambda _: b"", lambda _: None)
    monkeypatch.setattr(RequestLines, "of_process", RequestLines(writer, encode_json))
    try:
        with serving(engine.app) as engine_url, gateway(engine_url) as url:
            invoke("run", tmp_path / "recorded.yaml", "--url", f"{url}/v1", "--out", tmp_path / "run")
        assert writer.flush(60)
    finally:
        writer.close()
    invoke("trace", log, "--out", trace)
    lines, sent = list(read_trace(trace, 1)), read_run(tmp_path / "run").requests
    assert len(lines) == len(sent) == 24
    shown = Counter(len(line.pictures or ()) for line in lines)
    assert shown == Counter(len(one.pictures) for one in sent)
    assert len({number for line in lines for number in line.pictures or ()}) == len(
        {name for one in sent for name in one.pictures}
    )
    assert {line.answer_tokens for line in lines} == {5}
    assert list(trace.parent.glob("*.jsonl")) == [trace]
    again = CliRunner().invoke(app, ["trace", str(log), "--out", str(trace)])
    assert (again.exit_code, "is there already" in again.output) == (2, True)
