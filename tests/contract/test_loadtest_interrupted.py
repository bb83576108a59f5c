"""`fovea-loadtest run` as a process that is told to end: what has ended is reported, and the exit code says so."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from loadtest.records import REQUESTS_FILE, read_run
from loadtest.reporting.report import PAGE_FILE, REPORT_FILE, read_report
from tests.fakes.engine import FakeEngine
from tests.fakes.serve import serving

WITHOUT_END = [
    "--set",
    "arrival={kind: closed, concurrency: 2}",
    "--set",
    "duration_s=3600",
    "--set",
    "requests=null",
]
SMALL = ["--set", "pictures.catalogue=5", "--set", "pictures.sizes=[{width: 32, height: 32}]"]
UNWARMED = ["--set", "warm_up_requests=0"]
# What a shell has put into the background ignores Ctrl-C, and so would its children.
HEEDING = """\
import signal
from loadtest.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""


def told_to_end(
    url: str, folder: Path, by: signal.Signals, when: Callable[[], bool], *more: str
) -> tuple[int, str]:
    """Its exit code and what it said on stderr."""
    command = [sys.executable, "-c", HEEDING, "run", *more, "--url", f"{url}/v1", "--out", str(folder)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            deadline = time.monotonic() + 120
            while not when():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            process.send_signal(by)
            _, said = process.communicate(timeout=120)
        finally:
            process.kill()
    return process.returncode, said


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_what_has_ended_is_reported(tmp_path: Path, by: signal.Signals) -> None:
    engine = FakeEngine()
    with serving(engine.app) as url:
        code, said = told_to_end(
            url, tmp_path, by, lambda: len(engine.chats) >= 8, "catalogue", *WITHOUT_END, *SMALL, *UNWARMED
        )
    assert code == 130, said
    run = read_run(tmp_path)
    assert run.info.interrupted
    assert len(run.requests) >= 6  # of two callers, each asks anew once its answer is written down
    assert {request.code for request in run.requests} == {""}
    assert read_report(tmp_path / REPORT_FILE).warnings[0].startswith("The run was interrupted")
    assert (tmp_path / PAGE_FILE).exists()


def test_of_a_killed_run_a_report_is_made_of_what_it_had_written_down(tmp_path: Path) -> None:
    engine = FakeEngine()
    written = tmp_path / REQUESTS_FILE
    with serving(engine.app) as url:
        code, _ = told_to_end(
            url, tmp_path, signal.SIGKILL, lambda: written.exists() and b"\n" in written.read_bytes(),
            "catalogue", *WITHOUT_END, *SMALL, *UNWARMED, "--metrics", f"{url}/metrics",
        )  # fmt: skip
    assert code == -signal.SIGKILL
    assert not (tmp_path / REPORT_FILE).exists()
    command = [sys.executable, "-m", "loadtest.cli", "report", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    report = read_report(tmp_path / REPORT_FILE)
    assert report.answered == written.read_bytes().count(b"\n") > 0
    assert report.warnings[0].startswith("The run is under way, or was killed")
    assert read_run(tmp_path).samples, "what the server told of itself is written down at once, too"


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_while_pictures_are_drawn_nothing_was_sent_and_that_is_said(tmp_path: Path, by: signal.Signals) -> None:
    engine, folder = FakeEngine(), tmp_path / "out"
    with serving(engine.app) as url:
        code, said = told_to_end(url, folder, by, folder.exists, "inspection-drone")
    assert (code, said.splitlines()[-1]) == (130, "fovea-loadtest: interrupted before anything was sent")
    assert (engine.chats, list(folder.iterdir())) == ([], [])
