"""`fovea-loadtest` against a gateway: counts are exact, failures are told by code."""

import json
from pathlib import Path

from typer.testing import CliRunner

from loadtest.cli import app
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving
from tests.pictures import picture


def run(url: str, folder: Path, *more: str) -> tuple[int, dict[str, object]]:
    image, out = folder / "picture.png", folder / "summary.json"
    image.write_bytes(picture())
    command = ["run", "--url", f"{url}/v1", "--model", "demo", "--picture", str(image), "--json", str(out), *more]
    result = CliRunner().invoke(app, command)
    return result.exit_code, json.loads(out.read_text())


def test_every_request_is_sent_once_and_accounted_for(tmp_path: Path) -> None:
    engine = FakeEngine()
    with serving(engine.app) as engine_url, gateway(engine_url) as url:
        code, summary = run(url, tmp_path, "--requests", "23", "--concurrency", "5")
    assert (code, summary["answered"], len(engine.chats)) == (0, 23, 23)


def test_failures_are_told_by_code(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.fail = 400
    with serving(engine.app) as engine_url, gateway(engine_url) as url:
        code, summary = run(url, tmp_path, "--requests", "3")
    assert (code, summary["errors"]) == (1, {"rejected_by_engine": 3})


def test_a_missing_picture_is_a_usage_error() -> None:
    command = ["run", "--url", "http://x/v1", "--model", "demo", "--picture", "none.png"]
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, "none.png is not a file" in result.output) == (2, True)
