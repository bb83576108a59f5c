"""The gateways of the benchmark, as users run them: CPU and memory are the kernel's figures."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest.gateway.processes import START_TIMEOUT_S, free_port, wait_until_ready
from loadtest.peers.processes import memory_mb

# Nothing binds but what a benchmark says; connections last from block to block; no look falls into a block.
SETTINGS = {
    "FOVEA_ADMISSION__MAX_RUNNING": "4096",
    "FOVEA_HTTP__IDLE_TIMEOUT_S": "3600",
    "FOVEA_HTTP__KEEPALIVE_S": "0",
    "FOVEA_ENGINES__POLL_S": "3600",
    "FOVEA_ENGINES__IDLE_TIMEOUT_S": "3600",
    "FOVEA_LOGS__AUDIT_FILE": os.devnull,
}
# clock_getcpuclockid(3): the CPU time of another process is the clock of this number.
PROCESS_CLOCK = 2
READY = "fovea_engine_ready{"


@dataclass(frozen=True, slots=True)
class Gateway:
    port: int
    pid: int

    def cpu_s(self) -> float:
        """All threads', to the nanosecond."""
        return time.clock_gettime((~self.pid << 3) | PROCESS_CLOCK)

    def resident_mb(self) -> float:
        return memory_mb(self.pid, "VmRSS")


@contextmanager
def upstreams(count: int) -> Iterator[list[int]]:
    """The ports of so many engines."""
    command = [sys.executable, "-m", "loadtest.scaling.upstream", str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def gateway(engines: Sequence[int], **settings: str) -> Iterator[Gateway]:
    """Once all of its engines are ready."""
    port = free_port()
    urls = json.dumps([f"http://127.0.0.1:{each}" for each in engines])
    environ = {**os.environ, "PYTHONPATH": str(Path.cwd()), **SETTINGS, "FOVEA_ENGINES__URLS": urls, **settings}
    command = [sys.executable, "-m", "server", "gateway", "--port", str(port)]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True, env=environ
    ) as process:
        try:
            wait_until_ready(port, process, environ)
            wait_until_all_are(port, len(engines))
            yield Gateway(port, process.pid)
        finally:
            process.kill()


def wait_until_all_are(port: int, engines: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while ready_engines(port) < engines:
        if time.monotonic() > deadline:
            raise RuntimeError("not all engines became ready")
        time.sleep(0.05)


def ready_engines(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=START_TIMEOUT_S) as answer:
        lines = answer.read().decode().splitlines()
    return sum(line.startswith(READY) and float(line.rpartition(" ")[2]) == 1 for line in lines)
