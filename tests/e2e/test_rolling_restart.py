"""Gateways replaced in front of a real engine, while callers keep asking: nothing is lost."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from demo.processes import Running, running
from server.together import free_port
from tests.conftest import Stack
from tests.e2e.load import Load

CALLERS = 6


@contextmanager
def gateway(engine: str, port: int) -> Iterator[Running]:
    options = ("--engine", engine, "--port", str(port), "--workers", "2")
    # Longer than an answer takes: a stream that was begun before the grace and ends after it does not say that its
    # connection is closed behind it, and whoever asks on that at the same instant is not heard.
    with running("server", "gateway", *options, FOVEA_HTTP__DRAIN_GRACE_S="4") as started:
        for _ in range(2):
            started.wait_for(r"(?s)engine-0 is ready.*engine-0 is ready", 60)
        yield started


def test_gateways_are_replaced_in_both_ways_that_there_are_and_nothing_is_lost(bf16: Stack) -> None:
    """The workers of one by SIGHUP; all of it by another elsewhere, which callers know of before it is stopped."""
    ports = (free_port(), free_port())
    old, new = (f"http://127.0.0.1:{port}" for port in ports)
    load = Load([old], bf16.model)
    with gateway(bf16.engine, ports[0]) as first, gateway(bf16.engine, ports[1]), load.running(CALLERS):
        load.wait_for_more(2 * CALLERS)
        first.process.send_signal(signal.SIGHUP)
        first.wait_for("2 workers were replaced", 60)
        load.wait_for_more(CALLERS)
        load.urls.append(new)
        assert first.stop() == 0
        load.wait_for_more(CALLERS)
        load.urls.remove(old)
        load.wait_for_more(CALLERS)
        load.stop()
    assert load.lost() == []
