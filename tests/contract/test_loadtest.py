"""`fovea-loadtest run` against a gateway: every request is accounted for, failures and usage are told in words."""

from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from typer.testing import CliRunner, Result

from loadtest.cli import app
from loadtest.records import read_run
from loadtest.scenario.reading import bundled_names
from tests.contract.test_admission import keys_file
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving
from tests.pictures import picture

SMALL = [
    "--set", "arrival={kind: closed, concurrency: 5}", "--set", "duration_s=null", "--set", "requests=23",
    "--set", "pictures.sizes=[{width: 32, height: 32}]",
]  # fmt: skip


def run(url: str, folder: Path, *more: str, scenario: str = "catalogue") -> Result:
    command = ["run", scenario, "--url", f"{url}/v1", "--out", str(folder), *SMALL, *more]
    return CliRunner().invoke(app, command, catch_exceptions=False)


def test_every_request_is_sent_once_and_accounted_for(tmp_path: Path) -> None:
    engine = FakeEngine()
    with serving(engine.app) as engine_url, gateway(engine_url) as url:
        done = run(
            url,
            tmp_path,
            "--metrics",
            f"{url}/metrics",
            "--set",
            "warm_up_requests=3",
            "--assert",
            "error_share<=0",
        )
    assert (done.exit_code, len(engine.chats)) == (0, 23)
    read = read_run(tmp_path)
    assert (read.info.model, read.info.seed, read.info.scenario) == ("demo", 1, "catalogue")
    assert [request.code for request in read.requests] == [""] * 23
    assert (tmp_path / "report.json").exists()
    assert "<svg" in (tmp_path / "report.html").read_text()
    assert "requests: 23" in read.info.scenario_text


def test_a_picture_of_ones_own_is_shown_in_place_of_drawn_ones(tmp_path: Path) -> None:
    image, engine = tmp_path / "picture.png", FakeEngine()
    image.write_bytes(picture())
    with serving(engine.app) as engine_url, gateway(engine_url) as url:
        done = run(url, tmp_path / "out", "--model", "demo", "--picture", str(image))
    assert done.exit_code == 0
    assert len({name for request in read_run(tmp_path / "out").requests for name in request.pictures}) == 1


def test_failures_are_told_by_code(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.fail = 400
    with serving(engine.app) as engine_url, gateway(engine_url) as url:
        done = run(url, tmp_path)
    assert (done.exit_code, "rejected_by_engine" in done.output) == (1, True)


def test_what_does_not_hold_is_told_and_fails_the_command(tmp_path: Path) -> None:
    engine = FakeEngine()
    with serving(engine.app) as engine_url, gateway(engine_url) as url:
        done = run(url, tmp_path, "--assert", "ttft_p50_ms<0.000001")
    assert done.exit_code == 1
    assert "ttft_p50_ms<0.000001 does not hold" in done.output


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--picture", "none.png", "--model", "demo"], "none.png is not a file that can be read"),
        (["--set", "tenants=[{name: a, key_env: FOVEA_NO_SUCH_KEY}]"], "FOVEA_NO_SUCH_KEY, which is not set"),
        (["--set", "pictures.sise=1"], "pictures.sise: Extra inputs are not permitted"),
        (["--assert", "ttft<<5"], "ttft<<5"),
        ([], "http://127.0.0.1:1/v1/models does not answer"),
        (
            ["--model", "demo", "--metrics", "http://127.0.0.1:1/metrics"],
            "--metrics http://127.0.0.1:1/metrics does",
        ),
        (["--url", "127.0.0.1:1/v1"], "--url must begin with http:// or https://"),
        (["--set", "arrival=["], "its value is not readable YAML (line 1"),
    ],
)
def test_usage_is_told_before_anything_is_sent(tmp_path: Path, more: list[str], says: str) -> None:
    done = run("http://127.0.0.1:1", tmp_path / "out", *more)
    assert done.exit_code == 2
    assert says in " ".join(done.output.split())
    assert not (tmp_path / "out").exists()


def test_what_a_server_answers_instead_of_its_models_says_what_to_do(tmp_path: Path) -> None:
    engine, auth = FakeEngine(), {"key_hashes": {"0" * 64: "somebody"}}
    with serving(engine.app) as engine_url, gateway(engine_url, auth=auth) as url:
        wants_key = run(url, tmp_path / "out")
        elsewhere = run(f"{url}/v1", tmp_path / "out")
        no_page = run(url, tmp_path / "out", "--model", "demo", "--metrics", f"{url}/metricss")
    for done, says in (
        (wants_key, "answered 401: it wants an API key, from OPENAI_API_KEY"),
        (elsewhere, "answered 404: is it an OpenAI-compatible server, and does --url end in /v1?"),
        (no_page, "/metricss answered 404: is it the whole address of a page?"),
    ):
        assert (done.exit_code, says in " ".join(done.output.split())) == (2, True), done.output
    assert (engine.chats, (tmp_path / "out").exists()) == ([], False)


def test_no_run_is_written_over_another_nor_where_nothing_can_be_written(tmp_path: Path) -> None:
    engine, file = FakeEngine(), tmp_path / "a file"
    file.touch()
    with serving(engine.app) as engine_url:
        assert run(engine_url, tmp_path / "run").exit_code == 0
        before = (tmp_path / "run" / "requests.jsonl").read_bytes()
        for folder, says in ((tmp_path / "run", "holds a run already"), (file, "cannot be written: File exists")):
            done = run(engine_url, folder)
            assert (done.exit_code, says in done.output, "with --out" in done.output) == (2, True, True)
    assert (len(engine.chats), (tmp_path / "run" / "requests.jsonl").read_bytes()) == (23, before)


def test_all_scenarios_are_listed_with_a_sentence() -> None:
    lines = CliRunner().invoke(app, ["scenarios"]).output.splitlines()
    assert [line.split()[0] for line in lines] == bundled_names()
    assert all(len(line.split()) > 4 for line in lines)


def test_protected_metrics_are_read_with_their_key_which_no_engine_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, auth = FakeEngine(), keys_file(tmp_path / "keys", caller={}, watcher={"scopes": ["admin"]})
    shown = []

    async def metrics(request: Request) -> Response:
        shown.append(request.headers.get("authorization"))
        return PlainTextResponse(engine.tells)

    engine.app.routes.insert(0, Route("/metrics", metrics))
    monkeypatch.setenv("OPENAI_API_KEY", "caller")
    with serving(engine.app) as engine_url, gateway(engine_url, auth={**auth, "protect_metrics": True}) as url:
        pages = ("--metrics", f"{url}/metrics", "--metrics", f"{engine_url}/metrics")
        refused = run(url, tmp_path / "refused", *pages)
        monkeypatch.setenv("FOVEA_METRICS_KEY", "watcher")
        done = run(url, tmp_path / "done", *pages)
    assert refused.exit_code == 2
    assert "answered 401: it wants a key that may read it, from FOVEA_METRICS_KEY" in " ".join(
        refused.output.replace("│", "").split()
    )
    assert done.exit_code == 0
    assert {sample.source for sample in read_run(tmp_path / "done").samples} == {
        f"{url}/metrics",
        f"{engine_url}/metrics",
    }
    assert set(shown) == {None}
