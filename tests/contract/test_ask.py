"""`fovea ask` through a gateway, as `helm test` runs it."""

import os
import subprocess
import sys
from pathlib import Path

from server.together import free_port
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving
from tests.pictures import picture


def ask(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "server", "ask", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env={**os.environ, **environ}
    )


def test_a_picture_goes_through_a_gateway_and_the_answer_is_told(tmp_path: Path) -> None:
    file = tmp_path / "photograph.png"
    file.write_bytes(picture())
    engine = FakeEngine()
    with serving(engine.app) as engine_url, gateway(engine_url) as url:
        own, made = ask(str(file), "--url", url, "--question", "What is it?"), ask("--url", url)
    assert own.returncode == made.returncode == 0, own.stderr + made.stderr
    assert own.stdout.strip()
    assert "at engine-0:" in own.stderr


def test_a_key_that_is_missing_is_one_sentence_and_exit_code_1(tmp_path: Path) -> None:
    keys = tmp_path / "keys.yaml"
    keys.write_text(f"keys: [{{hash: 'sha256:{'0' * 64}', tenant: lab, scopes: [inference]}}]")
    with serving(FakeEngine().app) as engine, gateway(engine, auth={"keys_file": keys}) as url:
        done = ask("--url", url, FOVEA_API_KEY="fv-another")
    assert done.returncode == 1
    assert "refuses the API key" in done.stderr
    assert "fv-another" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_is_no_picture_is_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("words")
    done = ask(str(tmp_path / "notes.txt"), "--url", f"http://127.0.0.1:{free_port()}")
    assert (done.returncode, done.stderr.splitlines()) == (2, [f"fovea: {tmp_path}/notes.txt is not a picture"])
