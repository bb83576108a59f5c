"""The upstream and the gateway under test, as processes of their own."""

import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WATCHED = Path(__file__).with_name("watched.py")
START_TIMEOUT_S, LAST_WORDS_S = 60, 20
PORTS = (20_000, 32_000)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway with its watch; `tell` says what it did since it was last asked. From then on the watch feels the
    loop, at a price, or does not."""

    port: int
    process: "subprocess.Popen[str]"

    def ask(self, line: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        told: dict[str, Any] = json.loads(self.process.stdout.readline())
        return told

    def tell(self, then_feel: bool = False) -> dict[str, Any]:
        return self.ask("feel" if then_feel else "rest")


@contextmanager
def stub() -> Iterator[int]:
    """The port of an upstream."""
    command = [sys.executable, "-m", "loadtest.gateway.stub"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def gateway(
    source: Path, upstream: int, stages: Mapping[str, str], script: Path = WATCHED, /, **environ: str
) -> Iterator[Gateway]:
    """The gateway of the checkout at `source`, run by `script`, once it is ready."""
    port = free_port()
    command = [sys.executable, str(script), json.dumps(stages), "gateway"]
    command += ["--engine", f"http://127.0.0.1:{upstream}", "--port", str(port)]
    given = {**os.environ, "PYTHONPATH": str(source), **always_with_bytes(source), **environ}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=given
    ) as process:
        try:
            wait_until_ready(port, process, given)
            yield Gateway(port, process)
        finally:
            process.kill()


def always_with_bytes(source: Path) -> dict[str, str]:
    """The setting with which the gateway at `source` sends every picture whole, where it knows another way: all
    requests hold the same one, which it would send once and then name."""
    server = source / "server"
    places = [server / "settings.py", *(server / "setting_sections").glob("*.py")]
    if any("hash_first" in place.read_text() for place in places):
        return {"FOVEA_ENGINES__HASH_FIRST": "false"}
    return {}


def wait_until_ready(port: int, process: "subprocess.Popen[str]", environ: Mapping[str, str]) -> None:
    """Raises RuntimeError with the program's own last words, if it has any."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=1)
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
        else:
            return
    process.kill()
    raise RuntimeError(f"the gateway did not become ready: {last_words(process.args, environ)}")


def last_words(command: Any, environ: Mapping[str, str]) -> str:
    """What a program says that ends at once, asked once more: what is measured writes its log nowhere."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environ,
            timeout=LAST_WORDS_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "started again, it runs"
    return (done.stderr.strip().splitlines() or ["it says nothing"])[-1]


def free_port() -> int:
    """Below those that the kernel gives to outgoing connections, of which there are many here."""
    while True:
        port = random.randrange(*PORTS)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
