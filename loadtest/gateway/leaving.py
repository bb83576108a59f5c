"""How soon an engine learns that nobody waits for its answer any more: from a caller's closing to the upstream's
seeing its own connection closed."""

import http.client
import json
import socket
import time
from typing import Any

from loadtest.gateway.bodies import make_body
from loadtest.gateway.caller import make_request
from loadtest.gateway.result import Leaving
from loadtest.gateway.stub import LEFT
from loadtest.reporting.intervals import percentile

TIMES = 200
LOOK_S = 0.002
PATIENCE_S = 10.0


class NotNoticed(RuntimeError):
    """The upstream was not asked, or went on for nobody."""


def measure_leaving(subject: str, port: int, upstream: int, stream: bool, times: int = TIMES) -> Leaving:
    """`times` callers, one after another, leave a stream behind its first token, or a whole answer that has not
    begun. Clocks are the machine's, the same for all processes (CLOCK_MONOTONIC). Raises NotNoticed."""
    request = make_request(make_body(None, stream=stream, held=not stream))
    watch = http.client.HTTPConnection("127.0.0.1", upstream, timeout=PATIENCE_S)
    look(watch)  # what has been before is of no interest
    took_ms = [leave(port, request, stream, watch) * 1000 for _ in range(times)]
    watch.close()
    return Leaving(subject, stream, times, percentile(took_ms, 0.5), percentile(took_ms, 0.99), max(took_ms))


def leave(port: int, request: bytes, stream: bool, watch: http.client.HTTPConnection) -> float:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as caller:
        caller.sendall(request)
        said = b""
        while stream and b"data: " not in said:
            said += caller.recv(65536)
        wait_for(watch, "under_way")
        began = time.perf_counter()
    seen: float = wait_for(watch, "left")[0]
    return seen - began


def wait_for(watch: http.client.HTTPConnection, what: str) -> Any:
    """What the upstream says of it, once that is not nothing."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if told := look(watch)[what]:
            return told
        time.sleep(LOOK_S)
    raise NotNoticed(f"the upstream has nothing {what.replace('_', ' ')} after {PATIENCE_S:g} s")


def look(watch: http.client.HTTPConnection) -> dict[str, Any]:
    watch.request("GET", LEFT.decode())
    told: dict[str, Any] = json.loads(watch.getresponse().read())
    return told
