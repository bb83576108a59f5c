"""A gateway as processes of its own on one core, with what they have used and what they hold."""

import http.client
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest.gateway.processes import free_port
from loadtest.peers.peer import Peer, with_path

# LiteLLM imports for half a minute on a busy machine.
START_TIMEOUT_S, STOP_TIMEOUT_S = 180, 5
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class NotStarted(RuntimeError):
    """A gateway did not answer a request in time, or ended."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A gateway that has answered; `pid` is the root of its processes, 0 for the upstream itself."""

    name: str
    port: int
    pid: int

    def processes(self) -> list[int]:
        return tree(self.pid)

    def cpu_s(self) -> float:
        """User and kernel time of all its processes, those that have ended included."""
        return sum(map(cpu_s, self.processes()))

    def resident_mb(self) -> float:
        return sum(memory_mb(pid, "VmRSS") for pid in self.processes())

    def peak_mb(self) -> float:
        """Since `forget_peak`; where there are several processes, as though they had their peaks at once."""
        return sum(memory_mb(pid, "VmHWM") for pid in self.processes())

    def forget_peak(self) -> None:
        for pid in self.processes():
            Path(f"/proc/{pid}/clear_refs").write_text("5")


def tree(pid: int) -> list[int]:
    """`pid` and all that descend from it."""
    if not pid:
        return []
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, children.read_text().split())
    return found


def cpu_s(pid: int) -> float:
    # proc(5): utime, stime, cutime and cstime are 14 to 17; the name before them may hold anything but is in ().
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS_PER_S


def memory_mb(pid: int, name: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return float(next((line.split()[1] for line in lines if line.startswith(name)), "0")) / 1024


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Processes that are started here have `core` alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running(peer: Peer, upstream: int, core: int, request: bytes) -> Iterator[Subject]:
    """`peer` on `core`, once it has answered `request`. Raises NotStarted."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix=f"fovea-bench-{peer.name}-") as place:
        folder = Path(place)
        environ = with_path(**peer.environ(folder))
        with (folder / "log").open("wb") as log, on_core(core):
            process = subprocess.Popen(
                peer.command(port, upstream, folder),
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            wait_until_answered(peer.name, port, process, request, folder / "log")
            yield Subject(peer.name, port, process.pid)
        finally:
            stop(process)


def wait_until_answered(
    name: str, port: int, process: "subprocess.Popen[bytes]", request: bytes, log: Path
) -> None:
    head, _, body = request.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("POST", "/v1/chat/completions", body, headers)
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.2)
    said = log.read_text(errors="replace").strip().splitlines()[-1:]
    raise NotStarted(f"{name} did not answer: {said[0] if said else 'it said nothing'}")


def stop(process: "subprocess.Popen[bytes]") -> None:
    family = tree(process.pid) if process.poll() is None else []
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in family[1:]:
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, 9)
