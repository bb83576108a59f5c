import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from server.healthcheck import ask, default_url, main
from server.together import free_port

ANSWERS = {
    "/health/live": (200, b'{"status": "live"}'),
    "/health/ready": (503, b'{"error": {"code": "no_engine_ready", "message": "No engine is\\nready."}}'),
    "/health": (503, b"not one of ours"),
    "/moved": (302, b""),
}


@pytest.fixture
def url() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            status, body = ANSWERS[self.path]
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.send_header("location", "/health/live")
            self.end_headers()
            self.wfile.write(body)

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_who_answers_200_is_well(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", f"{url}/health/live"]) == 0
    assert capsys.readouterr().out == f"healthy: {url.removeprefix('http://')}/health/live answers 200\n"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/health/ready", "answers 503 (no_engine_ready: No engine is ready.)"),
        ("/health", "answers 503"),
        ("/moved", "answers 302"),
    ],
)
def test_who_answers_otherwise_is_not_and_its_own_words_are_told(url: str, path: str, says: str) -> None:
    assert ask(url + path) == (False, f"unhealthy: {url.removeprefix('http://')}{path} {says}")


def test_who_does_not_answer_is_not_well() -> None:
    port = free_port()
    assert ask(f"http://127.0.0.1:{port}/") == (
        False,
        f"unhealthy: 127.0.0.1:{port}/ cannot be asked (Connection refused)",
    )


def test_a_password_in_the_url_is_not_told() -> None:
    well, sentence = ask(f"http://someone:secret@127.0.0.1:{free_port()}/")
    assert not well
    assert "secret" not in sentence


def test_what_is_no_url_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", "127.0.0.1:8080"]) == 2
    assert (
        capsys.readouterr().err == "fovea: '127.0.0.1:8080' is not a URL like http://127.0.0.1:8080/health/live\n"
    )


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "http://127.0.0.1:8080/health/live"),
        ({"FOVEA_HTTP__HOST": "0.0.0.0", "FOVEA_HTTP__PORT": "9000"}, "http://127.0.0.1:9000/health/live"),
        ({"FOVEA_HTTP__HOST": "::"}, "http://[::1]:8080/health/live"),
        ({"FOVEA_HTTP__HOST": "10.0.0.5"}, "http://10.0.0.5:8080/health/live"),
    ],
)
def test_by_default_the_gateway_of_this_environment_is_asked(environ: dict[str, str], url: str) -> None:
    assert default_url(environ) == url


def test_it_is_over_before_the_rest_of_the_program_is_imported() -> None:
    """Containers run it every few seconds: with FastAPI it would take a second of CPU each time."""
    code = (
        "import sys, server.__main__ as m\n"
        "sys.argv = ['fovea', 'healthcheck', '--url', 'nothing']\n"
        "try: m.main()\n"
        "except SystemExit as end: print(end.code, [n for n in ('typer', 'fastapi') if n in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "2 []\n", done.stderr


@pytest.mark.parametrize(
    ("report", "code", "says"),
    [
        ('{"sight": {"verdict": "green"}}', 0, "has passed the sight gate"),
        ('{"sight": {"verdict": "red"}}', 1, "has failed the sight gate"),
        ('{"quantize": {}}', 1, "has not been through the sight gate yet"),
        ("[]", 1, "has not been through the sight gate yet"),
        ("", 1, "has not been through the sight gate yet"),
        (None, 1, "has not been through the sight gate yet"),
    ],
)
def test_an_engine_on_trial_is_ready_once_its_checkpoint_has_passed(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], report: str | None, code: int, says: str
) -> None:
    if report is not None:
        (tmp_path / "fovea-report.json").write_text(report)
    assert main(["--url", f"{url}/health/live", "--gated", str(tmp_path)]) == code
    assert says in capsys.readouterr().out


def test_an_engine_that_is_not_well_is_not_ready_whatever_has_passed(url: str, tmp_path: Path) -> None:
    (tmp_path / "fovea-report.json").write_text('{"sight": {"verdict": "green"}}')
    assert main(["--url", f"{url}/health", "--gated", str(tmp_path)]) == 1
