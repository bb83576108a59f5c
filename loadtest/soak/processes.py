"""What the soak runs, each a process of its own that ends with it: quantizer, engine, gateway, driver, pictures."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from loadtest.gateway.processes import free_port
from loadtest.soak.mix import KEYS, MODEL, SMALL_REQUESTS

BUNDLED = Path("demo/model")
START_S, STOP_S = 420, 60
MODULE = (sys.executable, "-m")
# All of it so small that it is full, and gives way, in the first minutes.
FULL_SOON = ("--embedding-cache-host", "1MiB", "--embedding-cache-disk", "2MiB", "--mm-processor-cache-gb", "0.05")
# oneDNN, which multiplies for vLLM on CPUs, keeps a program for each shape it met: 1024 unless told otherwise.
COMPILED = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64"}
PROCESSED_BYTES = 50 * 1000**2
SETTINGS = {
    "FOVEA_IMAGES__ALLOW_HTTP": "true",
    "FOVEA_IMAGES__ALLOW_PRIVATE_ADDRESSES": "true",
    "FOVEA_IMAGES__ALLOW_DOMAINS": '["127.0.0.1"]',
    "FOVEA_IMAGES__LOW_DETAIL_PIXELS": "4096",
    "FOVEA_IMAGES__RENDITION_CACHE": "65536",
    "FOVEA_IMAGES__FETCH_CACHE": "65536",
    "FOVEA_ENGINES__HASH_FIRST_BYTES": str(PROCESSED_BYTES),
    "FOVEA_HTTP__DRAIN_GRACE_S": "0",
}


class ProcessFailed(Exception):
    """A program of the soak ended, or was not ready in time; shows its last lines."""


class Program:
    """Its output goes to a file: nobody has to read it. `command` is what stands before the arguments."""

    def __init__(
        self, name: str, log: Path, *arguments: str, command: Sequence[str] = MODULE, **environ: str
    ) -> None:
        self.name, self._log = name, log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **environ},
                start_new_session=True,
            )

    def wait_for(self, url: str) -> None:
        deadline = time.monotonic() + START_S
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                urllib.request.urlopen(url, timeout=5)
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
            else:
                return
        raise ProcessFailed(f"{self.name} was not ready:\n{self.tail()}")

    def tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-30:])

    def stop(self) -> None:
        """As Ctrl-C does; what has not ended then, its children included, is killed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def program(
    name: str, log: Path, *arguments: str, command: Sequence[str] = MODULE, **environ: str
) -> Iterator[Program]:
    started = Program(name, log, *arguments, command=command, **environ)
    try:
        yield started
    finally:
        started.stop()


@contextmanager
def engine(folder: Path) -> Iterator[tuple[str, int]]:
    """Real vLLM with the bundled model in FP8, as `make demo` has it: its URL and process."""
    checkpoint, port = folder / "checkpoint", free_port()
    arguments = ("quantize.cli", "run", str(BUNDLED), str(checkpoint), "--recipe", "fp8-dynamic")
    with program("the quantizer", folder / "quantize.log", *arguments) as quantizer:
        if quantizer.process.wait(START_S):
            raise ProcessFailed(f"the quantizer failed:\n{quantizer.tail()}")
    options = ["--model", str(checkpoint), "--name", MODEL, "--port", str(port), "--grace", "0"]
    options += ["--embedding-cache", str(folder / "embeddings"), *FULL_SOON]
    with program("the engine", folder / "engine.log", "server", "engine", *options, **COMPILED) as started:
        started.wait_for(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}", started.process.pid


@contextmanager
def gateway(folder: Path, engine_url: str) -> Iterator[tuple[str, int]]:
    port = free_port()
    options = ["--engine", engine_url, "--port", str(port), "--preprocessor", str(BUNDLED)]
    environ = {**SETTINGS, "FOVEA_AUTH__KEYS_FILE": str(write_keys(folder))}
    with program("the gateway", folder / "gateway.log", "server", "gateway", *options, **environ) as started:
        started.wait_for(f"http://127.0.0.1:{port}/health/ready")
        yield f"http://127.0.0.1:{port}", started.process.pid


def write_keys(folder: Path) -> Path:
    """JSON, which is YAML, too."""
    keys: list[dict[str, Any]] = []
    for tenant, key in KEYS.items():
        digest = hashlib.sha256(key.encode()).hexdigest()
        keys.append({"hash": f"sha256:{digest}", "tenant": tenant, "scopes": ["inference"]})
    keys[-1]["limits"] = {"requests": SMALL_REQUESTS}
    path = folder / "keys.yaml"
    path.write_text(json.dumps({"keys": keys}))
    return path


class Told:
    """A process that does what it is told, a line each, and answers with one."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def tell(self, what: Mapping[str, float]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise ProcessFailed("the driver or the host of pictures ended")
        return line.strip()


@contextmanager
def told(module: str, *arguments: str) -> Iterator[Told]:
    command = [sys.executable, "-m", module, *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True) as process:
        try:
            yield Told(process)
        finally:
            process.kill()
