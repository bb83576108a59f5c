"""A real S3 store on this machine: SeaweedFS in one process, without anything that calls home."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import httpx2

from server.together import free_port
from tests.conftest import ROOT

INSTALLED = ROOT / ".venv" / "weed" / "bin" / "weed"
KEY, SECRET = "test-key", "test-secret"


def find_weed() -> str | None:
    """Where the set-up put it, or on the PATH."""
    return shutil.which("weed") or (str(INSTALLED) if INSTALLED.exists() else None)


class Seaweed:
    """Keeps everything in `folder`, so that it may be stopped and started again. `url` is its S3 endpoint."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self._port}"
        (folder / "data").mkdir()
        identity = {"name": "t", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        ports = free_ports(7)
        names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port")
        options = [
            f"-{name}={port}" for name, port in zip((*names, "filer.port.grpc", "s3.port.grpc"), ports, strict=True)
        ]
        self._process = subprocess.Popen(
            [
                *(self._program, "-logtostderr=true", "server", f"-dir={self._folder / 'data'}"),
                *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3.ip.bind=127.0.0.1", *options),
                *("-s3", f"-s3.port={self._port}", f"-s3.config={self._folder / 's3.json'}"),
                *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"),
                *("-volume.max=8", "-master.volumeSizeLimitMB=64"),
            ],
            stdout=(self._folder / "log").open("wb"),
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + 60
        while not self.answers():
            assert self._process.poll() is None, (self._folder / "log").read_text()[-3000:]
            assert time.monotonic() < deadline, (self._folder / "log").read_text()[-3000:]
            time.sleep(0.2)

    def answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/healthz").status_code == 200
        except httpx2.TransportError:
            return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def free_ports(count: int) -> list[int]:
    found: set[int] = set()
    while len(found) < count:
        port = free_port()
        if port < 55000:  # it would add 10000 to some
            found.add(port)
    return list(found)
