"""`fovea warm` against the fake engine and real gateways: pictures get the very names that requests will have."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner, Result

import server.cli
from server.warm.target import TRIES
from tests.contract.test_image_cache import CHAT, TellingEngine
from tests.fakes.engine import FakeEngine, images_in
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving
from tests.pictures import animation, chat, data_url, image_part, noise, picture

RED, BLUE, GIF = picture(colour="red"), picture("JPEG", colour="blue"), animation("GIF", 3)
KEY = "anns-key"
KEYS = {hashlib.sha256(KEY.encode()).hexdigest(): "ann"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command puts its options among the settings' variables; nothing of that stays."""
    for name in ("FOVEA_CONFIG", "FOVEA_ADMISSION__PREPROCESSOR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """Three pictures, one of them twice, and what is none."""
    folder = tmp_path / "catalogue"
    (folder / "more").mkdir(parents=True)
    for name, data in (("red.png", RED), ("blue.jpg", BLUE), ("more/red", RED), ("more/three.gif", GIF)):
        (folder / name).write_bytes(data)
    (folder / "read.me").write_text("no picture")
    return folder


def warm(*arguments: object) -> Result:
    return CliRunner().invoke(server.cli.app, ["warm", *map(str, arguments)])


def report_of(path: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(path.read_text())
    return told


def names(engine: FakeEngine) -> list[str]:
    return [part["uuid"] for body in engine.chats for part in images_in(body)]


def test_an_engine_is_sent_each_picture_once_and_says_what_it_had(catalogue: Path, tmp_path: Path) -> None:
    engine = TellingEngine()
    with serving(engine.app) as url:
        first = warm(catalogue, "--engine", url, "--report", tmp_path / "report")
        assert first.exit_code == 0, first.output
        told = report_of(tmp_path / "report")
        assert (told["warmed"], told["duplicates"], told["passed_over"], told["pictures"]) == (3, 1, 1, 4)
        assert len(set(names(engine.engine))) == len(names(engine.engine)) == 3
        again = warm(catalogue, "--engine", url, "--afresh", "--report", tmp_path / "report")
        assert again.exit_code == 0
        assert report_of(tmp_path / "report")["already_there"] == 3


@pytest.mark.parametrize("isolate", [True, False])
def test_a_warmed_picture_is_a_hit_for_whoever_asks_about_it_through_a_gateway(
    catalogue: Path, tmp_path: Path, isolate: bool
) -> None:
    settings = tmp_path / "settings.yaml"
    images = {"isolate_tenants": isolate, "low_detail_pixels": 1024}
    settings.write_text(json.dumps({"images": images, "auth": {"key_hashes": KEYS}}))
    (catalogue / "large.png").write_bytes(noise(size=(90, 80)))
    lines = tmp_path / "lines.jsonl"
    lines.write_text(json.dumps({"image": {"url": data_url(noise(size=(90, 80))), "detail": "low"}}) + "\n")
    engine = TellingEngine()
    with serving(engine.app) as url:
        done = warm(catalogue, lines, "--engine", url, "--settings", settings, "--tenant", "ann")
        assert done.exit_code == 0, done.output
        with gateway(url, auth={"key_hashes": KEYS}, images=images) as front:
            for data in (RED, BLUE, GIF, noise(size=(90, 80))):
                for detail in ("auto", "low"):
                    if detail == "low" and data in (RED, BLUE, GIF):
                        continue
                    part = image_part(data)
                    part["image_url"]["detail"] = detail
                    answer = httpx2.post(front + CHAT, json=chat(part), headers={"authorization": f"Bearer {KEY}"})
                    assert answer.headers["x-fovea-image-cache"] == "hit-gpu"


def test_a_gateway_is_asked_as_callers_ask_it(catalogue: Path, tmp_path: Path) -> None:
    engine = TellingEngine()
    with serving(engine.app) as url, gateway(url, auth={"key_hashes": KEYS}) as front:
        assert warm(catalogue, "--engine", front).exit_code == 2
        done = warm(catalogue, "--engine", f"{front}/v1/", "--api-key", KEY, "--report", tmp_path / "report")
        assert done.exit_code == 0, done.output
        assert report_of(tmp_path / "report")["warmed"] == 3
        answer = httpx2.post(front + CHAT, json=chat(image_part(GIF)), headers={"authorization": f"Bearer {KEY}"})
        assert answer.headers["x-fovea-image-cache"] == "hit-gpu"
        other = warm(catalogue, "--engine", front, "--api-key", KEY, "--tenant", "ann")
        assert (other.exit_code, "leave --tenant out" in other.output) == (2, True)


def test_a_run_goes_on_where_another_stopped(catalogue: Path, tmp_path: Path) -> None:
    engine = TellingEngine()
    with serving(engine.app) as url:
        assert warm(catalogue, "--engine", url).exit_code == 0
        journal = tmp_path / "catalogue.fovea-warm.jsonl"
        lines = journal.read_bytes().splitlines(keepends=True)
        assert len(lines) == 4
        journal.write_bytes(b"".join(lines[:2]) + lines[2][:20])  # killed while it wrote
        (catalogue / "new.png").write_bytes(picture(colour="green"))
        engine.asked.clear()
        done = warm(catalogue, "--engine", url, "--report", tmp_path / "report")
        assert done.exit_code == 0, done.output
        told = report_of(tmp_path / "report")
        assert (told["done_before"], told["warmed"] + told["already_there"]) == (1, 3)
        assert len([each for each in engine.asked if each]) == 3


def test_what_no_request_could_hold_is_refused_with_its_reason(catalogue: Path, tmp_path: Path) -> None:
    (catalogue / "broken.png").write_bytes(RED[:40])
    with serving(FakeEngine().app) as url:
        named = tmp_path / "none.png"
        done = warm(catalogue, named, "http://127.0.0.1/x.png", "--engine", url, "--report", tmp_path / "report")
        assert done.exit_code == 1
        told = report_of(tmp_path / "report")
        assert told["refused"] == {"invalid_image": 1, "image_url_refused": 1}
        assert told["failed"] == {"No such file or directory": 1}
        assert told["untold"] == 3
        assert {"where": str(named), "outcome": "failed", "reason": "No such file or directory"} in told["named"]
        assert "3 answered, but the engine does not tell" in done.output


def test_an_engine_that_is_busy_is_asked_again_and_one_that_refuses_is_not(
    catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.warm.target.FIRST_PAUSE_S", 0.01)
    engine = FakeEngine()
    with serving(engine.app) as url:
        engine.fail = 503
        done = warm(catalogue, "--engine", url, "--report", tmp_path / "report")
        assert (done.exit_code, len(engine.chats)) == (1, 3 * TRIES)
        assert report_of(tmp_path / "report")["failed"] == {"status_503": 3}
        engine.chats.clear()
        engine.fail = 400
        done = warm(catalogue, "--engine", url, "--report", tmp_path / "report")
        assert (done.exit_code, len(engine.chats)) == (1, 3)
        assert report_of(tmp_path / "report")["refused"] == {"status_400": 3}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--engine", "http://127.0.0.1:9"], "cannot be reached"),
        (["--engine", "{url}", "--model", "other"], "does not serve 'other'"),
        (["--engine", "{url}", "--settings", "/none.yaml"], "cannot read"),
        (["--engine", "{url}", "--resume", "{catalogue}/red.png"], "no journal of ours"),
        (["--engine", "{url}", "--resume", "/"], "cannot use the journal"),
    ],
)
def test_what_cannot_begin_says_why(catalogue: Path, options: list[str], says: str) -> None:
    with serving(FakeEngine().app) as url:
        done = warm(catalogue, *[each.format(url=url, catalogue=catalogue) for each in options])
        assert done.exit_code == 2
        assert says in done.output
        assert (catalogue / "red.png").read_bytes() == RED


def test_isolated_tenants_must_be_named(catalogue: Path, tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(json.dumps({"auth": {"key_hashes": KEYS}}))
    with serving(FakeEngine().app) as url:
        done = warm(catalogue, "--engine", url, "--settings", settings)
        assert (done.exit_code, "say --tenant" in done.output) == (2, True)


def test_an_empty_catalogue_is_no_catalogue(tmp_path: Path) -> None:
    with serving(FakeEngine().app) as url:
        done = warm(tmp_path, "--engine", url)
        assert (done.exit_code, "there are no pictures" in done.output) == (2, True)


def test_ctrl_c_leaves_the_journal_whole(catalogue: Path, tmp_path: Path) -> None:
    engine = TellingEngine()
    with serving(engine.app) as url:
        engine.engine.go.clear()
        command = [sys.executable, "-m", "server", "warm", str(catalogue), "--engine", url, "--concurrency", "1"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while not engine.engine.chats:
            assert process.poll() is None
            assert time.monotonic() < deadline, "no picture was asked for"
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, "the same command goes on from here" in err) == (1, True), out + err
        engine.engine.go.set()
        assert warm(catalogue, "--engine", url, "--report", tmp_path / "report").exit_code == 0
        told = report_of(tmp_path / "report")
        assert told["warmed"] + told["already_there"] == 3
