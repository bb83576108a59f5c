import signal
import subprocess
import sys
import time

from server.engine.stopping import Stop

SAYS = "import signal, sys, time; [signal.signal(n, lambda n, _: print(int(n), flush=True)) for n in (10, 15)]"


def test_an_engine_that_is_told_to_stop_leaves_first_and_stops_after_its_grace() -> None:
    script = [sys.executable, "-c", f"{SAYS}; print('up', flush=True); [time.sleep(0.05) for _ in range(600)]"]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        stop = Stop(process, grace_s=0.3)  # type: ignore[arg-type]
        stop.serves = True
        stop.hear(signal.SIGTERM, None)
        assert process.stdout.readline() == f"{int(signal.SIGUSR1)}\n"
        while time.monotonic() - stop.asked[0] < 0.3:
            stop.look()
        stop.look()
        assert process.stdout.readline() == f"{int(signal.SIGTERM)}\n"
        stop.hear(signal.SIGTERM, None)
        assert process.wait(10) == -signal.SIGKILL
