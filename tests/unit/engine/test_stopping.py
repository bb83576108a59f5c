import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from server.engine.stopping import Stop

SAYS = "import signal, sys, time; [signal.signal(n, lambda n, _: print(int(n), flush=True)) for n in (10, 12, 15)]"
SCRIPT = [sys.executable, "-c", f"{SAYS}; print('up', flush=True); [time.sleep(0.05) for _ in range(600)]"]


@contextmanager
def engine() -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(SCRIPT, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert heard(process) == "up"
        yield process
        process.kill()


def heard(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_an_engine_that_is_told_to_stop_leaves_takes_no_more_after_its_grace_and_stops_after_its_drain() -> None:
    with engine() as process:
        stop = Stop(process, grace_s=0.3, drain_s=0.4)  # type: ignore[arg-type]
        stop.serves = True
        stop.hear(signal.SIGTERM, None)
        assert heard(process) == f"{int(signal.SIGUSR1)}"
        for after, number in ((0.3, signal.SIGUSR2), (0.7, signal.SIGTERM)):
            while time.monotonic() - stop.asked[0] < after:
                stop.look()
            stop.look()
            assert heard(process) == f"{int(number)}"
        stop.look()
        stop.hear(signal.SIGTERM, None)
        assert process.wait(10) == -signal.SIGKILL


@pytest.mark.parametrize(("number", "serves"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_one_that_is_interrupted_or_does_not_serve_yet_stops_at_once(number: int, serves: bool) -> None:
    with engine() as process:
        stop = Stop(process, grace_s=0, drain_s=0)  # type: ignore[arg-type]
        stop.serves = serves
        stop.hear(number, None)
        stop.look()
        assert heard(process) == f"{int(signal.SIGTERM)}"
