"""Jobs of `make bench` as processes: none stops another, and none outlives the run."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadtest.suite.plan import Job
from loadtest.suite.running import MARK, Board, Outcome, marked, run_job, run_stages

CORES = tuple(sorted(os.sched_getaffinity(0)))
# Starts a grandchild in a session of its own, says so, and hangs.
HANGS = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
    "print(child.pid, flush=True)\n"
    "time.sleep(600)\n"
)


def job(name: str, script: str, minutes: float = 1.0) -> Job:
    return Job(name, (sys.executable, "-c", script), CORES[:1], minutes)


def board(folder: Path) -> tuple[Board, list[Outcome]]:
    ended: list[Outcome] = []
    return Board(folder, ended.append, {}, []), ended


async def seen(log: Path) -> str:
    while not (log.exists() and log.read_text().endswith("\n")):
        await asyncio.sleep(0.02)
    return log.read_text()


async def test_a_job_that_fails_stops_no_other_and_is_named_with_its_log(tmp_path: Path) -> None:
    running, ended = board(tmp_path)
    bad, good = job("bad", "print('why'); raise SystemExit(3)"), job("good", "print('well')")
    await run_stages([((bad, good), (job("beside", ""),)), ((job("later", ""),),)], running)
    assert {each.job.name: each.problem for each in ended} == {
        "bad": "exit status 3", "good": "", "beside": "", "later": "",
    }  # fmt: skip
    assert ended[-1].job.name == "later"
    assert not running.running
    assert "why" in (tmp_path / "bad.log").read_text()


async def test_a_job_runs_on_its_cores(tmp_path: Path) -> None:
    script = (
        "import os, time\nwhile len(os.sched_getaffinity(0)) > 1: time.sleep(0.01)\nprint(os.sched_getaffinity(0))"
    )
    assert await run_job(job("where", script), tmp_path / "log") == ""
    assert (tmp_path / "log").read_text() == f"{{{CORES[0]}}}\n"


async def test_a_run_that_is_cancelled_leaves_no_process_in_whatever_session(tmp_path: Path) -> None:
    running, _ = board(tmp_path)
    run = asyncio.create_task(run_stages([((job("hangs", HANGS),),)], running))
    grandchild = int(await seen(tmp_path / "hangs.log"))
    assert grandchild in marked(f"{os.getpid()}-hangs")
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert marked(f"{os.getpid()}-hangs") == []


async def test_a_job_that_hangs_is_ended_and_said(tmp_path: Path) -> None:
    assert await run_job(job("hangs", HANGS), tmp_path / "log", limit_s=0.5) == "took too long and was ended"
    assert marked(f"{os.getpid()}-hangs") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_and_all_that_it_started(tmp_path: Path, number: signal.Signals) -> None:
    script = (
        "import asyncio, sys; from pathlib import Path; from loadtest import bench_all\n"
        "from loadtest.suite.plan import Job; from loadtest.suite.running import Board\n"
        f"job = Job('hangs', (sys.executable, '-c', {HANGS!r}), {CORES!r}, 1.0)\n"
        f"board = Board(Path({str(tmp_path)!r}), print, {{}}, [])\n"
        "sys.exit(0 if asyncio.run(bench_all.run([((job,),)], board)) else bench_all.ENDED_BY_SIGNAL)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    log = tmp_path / "hangs.log"
    while not (log.exists() and log.read_text().endswith("\n")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait() == 130
    assert marked(f"{process.pid}-hangs") == []
    assert MARK not in os.environ


async def test_settings_of_the_caller_s_shell_are_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOVEA_HTTP__PORT", "1")
    monkeypatch.setenv("FOVEA_ENGINE_PYTHON", "python-with-vllm")
    script = "import os; print(sorted(name for name in os.environ if name.startswith('FOVEA_')))"
    assert await run_job(job("settings", script), tmp_path / "log") == ""
    assert (tmp_path / "log").read_text() == "['FOVEA_ENGINE_PYTHON']\n"
